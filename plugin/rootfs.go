package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// CheckRootfs looks for the programs and libraries that the tasks of the image have
// mapped in the bundle's root filesystem: a root filesystem without them, or with
// others, is not the one of the image. Files on other mounts of the container are
// not looked for, nor those that cannot be told apart from outside. Its errors are
// ErrBundle.
func CheckRootfs(img *image.Reader, b *Bundle) error {
	root, err := os.OpenRoot(b.Rootfs)
	if err != nil {
		return &BundleError{Bundle: b.Dir, Reason: "the root filesystem cannot be opened", Err: err}
	}
	defer root.Close()
	type question struct {
		id   specs.ID
		code bool
	}
	seen := make(map[question]bool)
	check := func(id specs.ID, code bool) error {
		if id == 0 || seen[question{id, code}] {
			return nil
		}
		seen[question{id, code}] = true
		r, err := img.Record(id)
		if err != nil {
			return err
		}
		file, ok := r.(*specs.Regular)
		if !ok || file.Ghost != 0 || mounted(img.Header(), b, file.Path) {
			return nil
		}
		return checkFile(root, b, file, code)
	}
	for _, t := range image.Each[*specs.Task](img) {
		if err := check(t.Exe, true); err != nil {
			return err
		}
	}
	for _, m := range image.Each[*specs.Memory](img) {
		for _, a := range m.Areas {
			if err := check(a.File, a.Prot&unix.PROT_EXEC != 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkFile compares one file with what the image says of it. The size counts for code
// alone: a data file may have grown.
func checkFile(root *os.Root, b *Bundle, file *specs.Regular, code bool) error {
	info, err := root.Stat(strings.TrimPrefix(filepath.Clean(file.Path), "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &BundleError{Bundle: b.Dir, Reason: fmt.Sprintf(
			"the root filesystem lacks %s, which the image's tasks have mapped: use the root filesystem of the checkpoint or a copy", file.Path)}
	case err != nil:
		// A symbolic link that leads out of the root as seen from here: only the
		// container can follow it.
		return nil
	case code && info.Size() != file.Size:
		return &BundleError{Bundle: b.Dir, Reason: fmt.Sprintf(
			"%s has %d bytes and had %d at the checkpoint: use the root filesystem of the checkpoint or a copy", file.Path, info.Size(), file.Size)}
	}
	return nil
}

// mounted tells whether a path of the container lies on another mount than its root.
func mounted(h *specs.Header, b *Bundle, path string) bool {
	below := func(point string) bool {
		point = filepath.Clean(point)
		return point != "/" && (path == point || strings.HasPrefix(path, point+"/"))
	}
	for _, m := range h.Mounts {
		if below(m.Point) {
			return true
		}
	}
	for _, m := range b.Config.Mounts {
		if below(m.Destination) {
			return true
		}
	}
	return false
}
