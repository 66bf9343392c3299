package layer

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// Apply brings the changes to their places. After an error some of them may be there: Undo
// takes them back.
func (s *Stage) Apply() error {
	if len(s.entries) > 0 && s.entries[0].name != "." {
		return refuse(s.entries[0].name, "is not the top of a filesystem")
	}
	// Nobody may have come in the meantime.
	if err := unused(s.root); err != nil {
		return err
	}
	var err error
	if s.journal, err = newJournal(s.dir); err != nil {
		return err
	}
	for i := range s.entries {
		if err := s.apply(&s.entries[i]); err != nil {
			return &pathError{s.entries[i].name, err}
		}
	}
	// What was made in directories has changed their times.
	for i := len(s.entries) - 1; i >= 0; i-- {
		if e := &s.entries[i]; e.Type == pax.Directory {
			if err := s.setTimes(e); err != nil {
				return &pathError{e.name, err}
			}
		}
	}
	return nil
}

// apply does what one entry says.
func (s *Stage) apply(e *staged) error {
	if e.name == "." {
		return s.directory(e, s.root)
	}
	dir, err := beneath(s.root, path.Dir(e.name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer dir.Close()
	n := path.Base(e.name)
	st, err := stat(dir, n)
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	there := err == nil
	isDir := there && st.Mode&unix.S_IFMT == unix.S_IFDIR
	if there && !(isDir && e.Type == pax.Directory) {
		if err := s.aside(dir, n, e.name); err != nil {
			return err
		}
		there = false
	}
	if e.Type == pax.Whiteout {
		return nil
	}
	if !there {
		if err := s.journal.begin(step{Path: e.name, New: true}); err != nil {
			return err
		}
	}
	if e.Type == pax.Directory {
		return s.enter(e, dir, n, !there)
	}
	from, err := open(s.dir, newDir, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer from.Close()
	return rename(from, e.file, dir, n)
}

// enter gives a directory, which is made if it is a new one, its attributes.
func (s *Stage) enter(e *staged, parent *os.File, n string, create bool) error {
	if create {
		if err := unix.Mkdirat(int(parent.Fd()), n, 0o700); err != nil {
			return &os.PathError{Op: "mkdir", Path: n, Err: err}
		}
	}
	dir, err := beneath(parent, n, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer dir.Close()
	if create {
		// It may have got an access control list from its parent.
		was, err := attributes(dir)
		if err != nil {
			return err
		}
		return setAttributes(&e.Header, was, dir)
	}
	return s.directory(e, dir)
}

// directory makes an old directory the one of an entry.
func (s *Stage) directory(e *staged, dir *os.File) error {
	was, err := attributes(dir)
	if err != nil {
		return err
	}
	if err := s.journal.begin(step{Path: e.name, Attributes: was}); err != nil {
		return err
	}
	if err := setAttributes(&e.Header, was, dir); err != nil {
		return err
	}
	if !e.Opaque {
		return nil
	}
	again, err := open(dir, ".", unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer again.Close()
	list, err := names(again)
	if err != nil {
		return err
	}
	for _, n := range list {
		if err := s.aside(dir, n, path.Join(e.name, n)); err != nil {
			return err
		}
	}
	return nil
}

// aside moves a file, with all that is below it, out of the way.
func (s *Stage) aside(dir *os.File, n, name string) error {
	old, err := open(s.dir, oldDir, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer old.Close()
	one := step{Path: name, Aside: strconv.Itoa(len(s.journal.steps))}
	if err := s.journal.begin(one); err != nil {
		return err
	}
	return s.move(dir, n, old, one.Aside)
}

func (s *Stage) move(from *os.File, n string, to *os.File, m string) error {
	return move(from, n, to, m, s.mount)
}

// setTimes sets the times of a directory when all is in it.
func (s *Stage) setTimes(e *staged) error {
	dir, err := beneath(s.root, e.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer dir.Close()
	return e.SetTimes(dir)
}

// Top is the directory at the top of a filesystem with the attributes that changes give it.
type Top struct {
	path   string
	header *pax.Header
}

// Top returns it.
func (s *Stage) Top() Top {
	if len(s.entries) == 0 {
		return Top{}
	}
	return Top{s.root.Name(), &s.entries[0].Header}
}

// Set sets the attributes once more, if the directory is still to be found by its path.
func (t Top) Set() error {
	dir, err := openDir(t.path)
	if t.header == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	was, err := attributes(dir)
	if err != nil {
		return err
	}
	return errors.Join(setAttributes(t.header, was, dir), t.header.SetTimes(dir))
}

// Undo takes back what Apply has done, all or a part of it, and removes the stage.
func (s *Stage) Undo() error {
	defer s.close()
	var err error
	if s.journal != nil {
		err = s.journal.undo(s.root, s.dir, s.mount, 0)
		s.journal.file.Close()
	}
	if err != nil {
		return fmt.Errorf("take back the changes of %s (the next import into it tries again): %w", s.root.Name(), err)
	}
	return s.remove()
}

// Settle lets the changes stay if we die: what runs then may have made others. Undo still takes
// them back.
func (s *Stage) Settle() error {
	if s.journal == nil || s.journal.done() {
		return nil
	}
	return s.journal.begin(step{Path: ".", Done: true})
}

// Commit lets the changes stay and removes what they replaced.
func (s *Stage) Commit() error {
	defer s.close()
	err := s.Settle()
	if s.journal != nil {
		s.journal.file.Close()
	}
	if err != nil {
		return err
	}
	return s.remove()
}

// remove removes the directory of the stage.
func (s *Stage) remove() error {
	if err := removeStage(s.root, s.name, s.mount); err != nil {
		return fmt.Errorf("remove %s in %s: %w", s.name, s.root.Name(), err)
	}
	return nil
}
