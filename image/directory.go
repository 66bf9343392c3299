package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// directory is an open directory that holds an image or will. Files in it are
// reached through its descriptor and by one name without slashes, never by a path:
// so no symbolic link and no rename on the way leads elsewhere.
type directory struct {
	file *os.File
	path string
}

// fd is the descriptor, valid while d is open.
func (d *directory) fd() int { return int(d.file.Fd()) }

// close gives the descriptor back.
func (d *directory) close() error { return d.file.Close() }

// retry repeats a system call that a signal interrupted, as filesystems in user
// space let happen.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// openat opens name. O_NOFOLLOW refuses a symbolic link and O_NONBLOCK keeps a
// FIFO from holding us; regular then refuses all that is not a plain file.
func (d *directory) openat(name string, flags int) (*os.File, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
		return err
	})
	path := filepath.Join(d.path, name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// open opens the plain file name for reading and tells its size.
func (d *directory) open(name string) (*os.File, int64, error) {
	file, err := d.openat(name, unix.O_RDONLY)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %v is not a plain file", file.Name(), info.Mode().Type())
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// create makes the file name, which must not exist, for reading and writing. The
// mode is set once more because the umask may have taken from it.
func (d *directory) create(name string) (*os.File, error) {
	file, err := d.openat(name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	if err := file.Chmod(0o600); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// names lists the directory, sorted.
func (d *directory) names() ([]string, error) {
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	names, err := d.file.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// ours lists the directory and fails with ErrOccupied if a name in it is not
// that of a file of an image: such a directory is not ours to remove.
func (d *directory) ours() ([]string, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name == specs.ImageFile || name == specs.SealedFile {
			continue
		}
		if err := checkMember(name); err != nil {
			return nil, fmt.Errorf("%s: %w: it has %q (choose another directory or move that away)", d.path, ErrOccupied, name)
		}
	}
	return names, nil
}

// empty removes the files of an image, several at a time: to give back the page cache of a large one
// takes milliseconds.
func (d *directory) empty() error {
	names, err := d.ours()
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range names {
		group.Go(func() error {
			err := unix.Unlinkat(d.fd(), name, 0)
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return &fs.PathError{Op: "unlink", Path: filepath.Join(d.path, name), Err: err}
			}
			return nil
		})
	}
	return group.Wait()
}

// lock takes the directory for one writer. The lock goes with the descriptor, so
// that it ends with the process however that ends.
func (d *directory) lock() error {
	err := retry(func() error { return unix.Flock(d.fd(), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("%s: %w (wait for it to end)", d.path, ErrBusy)
	}
	if err != nil {
		return &fs.PathError{Op: "flock", Path: d.path, Err: err}
	}
	return nil
}
