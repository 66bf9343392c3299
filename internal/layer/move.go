package layer

import (
	"encoding/hex"
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// rename moves one name.
func rename(from *os.File, n string, to *os.File, m string) error {
	if err := unix.Renameat2(int(from.Fd()), n, int(to.Fd()), m, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: from.Name() + "/" + n, New: to.Name() + "/" + m, Err: err}
	}
	return nil
}

// move moves a file, or a directory with all that is in it. Directories of the lower layers of an overlay
// cannot be renamed (EXDEV): they are made anew, and emptied into the new ones. What an earlier move
// has left undone is completed. Nothing is moved off its mount.
func move(from *os.File, n string, to *os.File, m string, mount uint64) error {
	st, err := stat(from, n)
	if err != nil {
		return err
	}
	if st.Mnt_id != mount {
		return &os.PathError{Op: "move", Path: n, Err: errMounted}
	}
	err = rename(from, n, to, m)
	exists := errors.Is(err, unix.EEXIST)
	if err == nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || !exists && !errors.Is(err, unix.EXDEV) {
		return err
	}
	source, err := beneath(from, n, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer source.Close()
	was, err := attributes(source)
	if err != nil {
		return err
	}
	if !exists {
		if err := unix.Mkdirat(int(to.Fd()), m, 0o700); err != nil {
			return &os.PathError{Op: "mkdir", Path: m, Err: err}
		}
	}
	target, err := beneath(to, m, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOATIME)
	if err != nil {
		return err
	}
	defer target.Close()
	list, err := source.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range list {
		if err := move(source, name, target, name, mount); err != nil {
			return err
		}
	}
	if err := errors.Join(was.SetAttributes(target), was.SetTimes(target)); err != nil {
		return err
	}
	if err := unix.Unlinkat(int(from.Fd()), n, unix.AT_REMOVEDIR); err != nil {
		return &os.PathError{Op: "rmdir", Path: n, Err: err}
	}
	return nil
}

var errMounted = errors.New("another filesystem is mounted there")

// removeTree removes a file, or a directory with all that is in it; that there is none is
// fine. What is mounted below it stays, and is an error.
func removeTree(dir *os.File, n string, mount uint64) error {
	st, err := stat(dir, n)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mnt_id != mount {
		return &os.PathError{Op: "remove", Path: n, Err: errMounted}
	}
	flags := 0
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		flags = unix.AT_REMOVEDIR
		d, err := open(dir, n, unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		defer d.Close()
		list, err := d.Readdirnames(-1)
		if err != nil {
			return err
		}
		for _, name := range list {
			if err := removeTree(d, name, mount); err != nil {
				return err
			}
		}
	}
	if err := unix.Unlinkat(int(dir.Fd()), n, flags); err != nil {
		return &os.PathError{Op: "remove", Path: n, Err: err}
	}
	return nil
}

// attributes are those of a directory.
func attributes(dir *os.File) (*pax.Header, error) {
	st, err := stat(dir, "")
	if err != nil {
		return nil, err
	}
	h, err := pax.NewHeader(".", st)
	if err != nil {
		return nil, err
	}
	s := pax.NewSaver(nil)
	s.Keep = func(attr string) (bool, error) {
		r, err := ruleOf(attr)
		return err == nil && r == carried, nil
	}
	h.Xattrs, err = s.Opened(dir)
	return h, err
}

// setAttributes gives a directory that has the attributes was those of h.
func setAttributes(h, was *pax.Header, dir *os.File) error {
	for _, x := range was.Xattrs {
		if !slices.ContainsFunc(h.Xattrs, func(y pax.Xattr) bool { return x.Name == y.Name }) {
			if err := unix.Fremovexattr(int(dir.Fd()), x.Name); err != nil {
				return &os.PathError{Op: "remove extended attribute " + x.Name, Path: dir.Name(), Err: err}
			}
		}
	}
	return h.SetAttributes(dir)
}

// pathToText writes bytes as text, textToPath reads it.
func pathToText(s string) string { return hex.EncodeToString([]byte(s)) }

func textToPath(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		return s
	}
	return string(b)
}
