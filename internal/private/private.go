// Package private makes files and directories that are for their owner alone, whatever the
// umask. A umask can only take permissions away: so that what is made is never open to others for a
// moment, it is made with no more than it shall have, and given the rest then.
package private

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The modes of what is made.
const (
	FileMode = 0o600
	DirMode  = 0o700
)

// OpenFile opens or makes a plain file with FileMode. flag is as for os.OpenFile, and O_CREATE with it. A
// link in the place of the file is not followed; what is no plain file or belongs to another user is
// refused, since that one could read it.
func OpenFile(path string, flag int) (*os.File, error) {
	// Not truncated before it is known to be ours.
	f, err := os.OpenFile(path, flag&^os.O_TRUNC|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, FileMode)
	if err != nil {
		return nil, err
	}
	if err := claim(f, flag); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func claim(f *os.File, flag int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return &os.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	switch {
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is no plain file: remove it or choose another place", f.Name())
	case int(stat.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: remove it or choose another place", f.Name(), stat.Uid)
	}
	if stat.Mode&0o7777 != FileMode {
		if err := f.Chmod(FileMode); err != nil {
			return err
		}
	}
	if flag&os.O_TRUNC != 0 {
		return f.Truncate(0)
	}
	return nil
}

// CreateTemp is os.CreateTemp of a file with FileMode.
func CreateTemp(dir, pattern string) (*os.File, error) {
	f, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(FileMode); err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return f, nil
}

// WriteFile is os.WriteFile of a file with FileMode.
func WriteFile(path string, data []byte) error {
	f, err := OpenFile(path, os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// MkdirAll makes a directory and those above it that are missing, all with DirMode. Those that are there
// stay as they are.
func MkdirAll(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return &os.PathError{Op: "mkdir", Path: path, Err: unix.ENOTDIR}
	}
	if err == nil {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent); err != nil {
			return err
		}
	}
	err = os.Mkdir(path, DirMode)
	if info, there := os.Stat(path); os.IsExist(err) && there == nil && info.IsDir() {
		return nil // somebody was quicker
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, DirMode)
}
