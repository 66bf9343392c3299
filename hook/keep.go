package hook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rethaw/rethaw/image"
)

// prune removes the oldest images of this container in a directory until as many are
// left as are to be kept. Only images whose names we chose are removed: neither those of
// other containers nor what somebody has named.
func (a *agent) prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for old images: %w", err)
	}
	type old struct {
		path    string
		created int64
	}
	var all []old
	for _, e := range entries {
		if !e.IsDir() || !timed(filepath.Base(a.plan.pattern(true)), e.Name()) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		// The image that this container was restored from is still wanted.
		if a.plan.Wishes.Restore != "" && path == a.plan.restoreImage() {
			continue
		}
		if created, ok := a.own(path); ok {
			all = append(all, old{path, created})
		}
	}
	slices.SortFunc(all, func(x, y old) int { return int(min(max(y.created-x.created, -1), 1)) })
	var failed error
	for _, o := range all[min(len(all), a.plan.Wishes.Keep):] {
		if err := os.RemoveAll(o.path); err != nil {
			failed = errors.Join(failed, fmt.Errorf("removing an old image: %w", err))
			continue
		}
		a.log.WithField("image", o.path).Info("old image removed")
	}
	return failed
}

// own tells whether an image is of this container, and when it was taken, in nanoseconds since 1970. What is
// encrypted is known by its place, which checkPattern makes one of this container.
func (a *agent) own(path string) (created int64, own bool) {
	if len(a.plan.Wishes.EncryptTo) > 0 {
		if f, err := image.OpenSealed(path); err == nil && f != nil {
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return 0, false
			}
			return info.ModTime().UnixNano(), true
		}
	}
	img, err := image.Open(path)
	if err != nil {
		return 0, false
	}
	defer img.Close()
	return img.Header().Created, img.Header().Container == a.plan.ID
}

// timed tells whether a name was made of a pattern with the time in it.
func timed(pattern, name string) bool {
	before, after, _ := strings.Cut(pattern, timeMark)
	rest, ok := strings.CutPrefix(name, before)
	if !ok {
		return false
	}
	rest, ok = strings.CutSuffix(rest, after)
	_, err := time.Parse(timeLayout, rest)
	return ok && err == nil
}

// room tells whether the program may have an image of a name of its choice: one that
// takes the place of its own former one, or another as long as there are not too many.
func (a *agent) room(path string) error {
	if _, err := os.Lstat(path); err == nil {
		if _, own := a.own(path); !own {
			return fmt.Errorf("the name %s is taken by another: choose another name", filepath.Base(path))
		}
		return nil
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	named := 0
	for _, e := range entries {
		if !imageName(e.Name()) {
			continue
		}
		if _, own := a.own(filepath.Join(filepath.Dir(path), e.Name())); own {
			named++
		}
	}
	if named >= a.plan.Wishes.Keep {
		return fmt.Errorf("there are %d named images: use one of their names, or none", named)
	}
	return nil
}
