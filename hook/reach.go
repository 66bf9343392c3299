package hook

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// outOfReach checks that what the annotations name on the host lies where the container cannot write.
// Who can change an image decides what runs in the place of the program, and with which keys others
// read it.
func (c *config) outOfReach(p *plan) error {
	w := p.Wishes
	paths := map[string]string{}
	if w.Restore != "" {
		paths["restore"] = p.restoreImage()
	}
	if w.Identity != "" {
		paths["restore.identity"] = w.Identity
	}
	if w.once() {
		paths["checkpoint.image"] = filepath.Dir(p.pattern(false))
	}
	if w.Every != 0 || w.OnRequest {
		paths["checkpoint.image"] = filepath.Dir(p.pattern(true))
	}
	for i, to := range w.EncryptTo {
		if filepath.IsAbs(to) {
			paths[fmt.Sprintf("checkpoint.encrypt-to, %d", i+1)] = to
		}
	}
	reach := c.reach(p)
	for name, path := range paths {
		for _, tree := range reach {
			if below(resolved(path), tree) {
				return fmt.Errorf("%w %s%s: the container can write to %s, which is below %s: name another place", ErrAnnotation, Prefix, name, path, tree)
			}
		}
	}
	return nil
}

// reach lists the trees of the host that the container can write to.
func (c *config) reach(p *plan) []string {
	trees := []string{resolved(p.Rootfs)}
	for _, m := range c.Mounts {
		bind := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		if !bind || slices.Contains(m.Options, "ro") && !slices.Contains(m.Options, "rw") {
			continue
		}
		trees = append(trees, resolved(under(p.Bundle, filepath.Clean(m.Source))))
	}
	return trees
}

// resolved follows the links in as much of a path as there is.
func resolved(path string) string {
	for rest := ""; ; {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(path)
		if parent == path {
			return filepath.Join(path, rest)
		}
		path, rest = parent, filepath.Join(filepath.Base(path), rest)
	}
}

// below tells whether a path lies in a tree.
func below(path, tree string) bool {
	return path == tree || tree == "/" || strings.HasPrefix(path, tree+"/")
}
