package layer

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// undo takes steps back, the last one first, down to the first or the one with number to.
func (j *journal) undo(root, stage *os.File, mount uint64, to int) error {
	old, err := open(stage, oldDir, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer old.Close()
	for len(j.steps) > to {
		one, err := j.back()
		if err != nil {
			return err
		}
		if err := one.undo(root, old, mount); err != nil {
			return &pathError{one.Path, err}
		}
		j.steps = j.steps[:len(j.steps)-1]
	}
	return nil
}

// undo takes one step back, which may have been done, in part or not at all; and so may its
// undoing.
func (one step) undo(root, old *os.File, mount uint64) error {
	if one.Attributes != nil {
		dir, err := beneath(root, one.Path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
		if err != nil {
			return err
		}
		defer dir.Close()
		is, err := attributes(dir)
		if err != nil {
			return err
		}
		if err := setAttributes(one.Attributes, is, dir); err != nil {
			return err
		}
		return one.Attributes.SetTimes(dir)
	}
	dir, err := beneath(root, path.Dir(one.Path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer dir.Close()
	n := path.Base(one.Path)
	switch {
	case one.New:
		return removeTree(dir, n, mount)
	case one.Aside != "":
		if _, err := stat(old, one.Aside); errors.Is(err, unix.ENOENT) {
			return nil
		}
		return move(old, one.Aside, dir, n, mount)
	}
	return nil
}

// recoverAll takes back what dead imports have begun in a filesystem.
func recoverAll(root *os.File) error {
	top, err := open(root, ".", unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer top.Close()
	list, err := top.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, n := range list {
		if strings.HasPrefix(n, StagePrefix) {
			if err := recoverOne(root, n); err != nil {
				return fmt.Errorf("%s, which an import has left: %w", n, err)
			}
		}
	}
	return nil
}

func recoverOne(root *os.File, name string) error {
	st, err := stat(root, name)
	if err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != uint32(os.Getuid()) || st.Mode&0o077 != 0 {
		return errors.New("it is no directory of ours alone: remove it")
	}
	dir, err := open(root, name, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%w by another import: wait for it to end (%w)", ErrBusy, err)
	}
	j, err := openJournal(dir)
	if err != nil {
		return err
	}
	if j != nil {
		defer j.file.Close()
		if !j.done() {
			if err := j.undo(root, dir, st.Mnt_id, 0); err != nil {
				return err
			}
		}
	}
	return removeStage(root, name, st.Mnt_id)
}

// removeStage removes a stage and leaves the times of the top as they are.
func removeStage(root *os.File, name string, mount uint64) error {
	st, err := stat(root, "")
	if err != nil {
		return err
	}
	if err := removeTree(root, name, mount); err != nil {
		return err
	}
	return unix.UtimesNanoAt(int(root.Fd()), "", times(st), unix.AT_EMPTY_PATH)
}

// unused sees that no task has the directory as its root.
func unused(root *os.File) error {
	var own unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &own); err != nil {
		return err
	}
	tasks, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.Name()[0] < '0' || t.Name()[0] > '9' {
			continue
		}
		var its unix.Stat_t
		if err := unix.Stat("/proc/"+t.Name()+"/root", &its); err == nil && its.Dev == own.Dev && its.Ino == own.Ino {
			return fmt.Errorf("%w by process %s: give the container another one, or use --ignore-rootfs", ErrBusy, t.Name())
		}
	}
	return nil
}

// journaled keeps bytes that are no text: JSON would replace them.
func journaled(one step) step {
	one.Path = pathToText(one.Path)
	if one.Attributes != nil {
		h := *one.Attributes
		h.Xattrs = nil
		for _, x := range one.Attributes.Xattrs {
			h.Xattrs = append(h.Xattrs, pax.Xattr{Name: pathToText(x.Name), Value: pathToText(x.Value)})
		}
		one.Attributes = &h
	}
	return one
}

// unjournaled undoes journaled.
func unjournaled(one step) step {
	one.Path = textToPath(one.Path)
	if one.Attributes != nil {
		for i, x := range one.Attributes.Xattrs {
			one.Attributes.Xattrs[i] = pax.Xattr{Name: textToPath(x.Name), Value: textToPath(x.Value)}
		}
	}
	return one
}
