package plugin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/private"
)

// Lock is held on a container while it is checkpointed or made. It is a flock(2) on
// a file, so that the kernel ends it with us however we die.
type Lock struct {
	file *os.File
}

// lockContainer locks a running container by its init, which is one however many
// engines know the container.
func lockContainer(c Candidate, p process) (*Lock, error) {
	return lock(fmt.Sprintf("init-%d-%d.lock", p.pid, p.start), c.String())
}

// lockName locks the name of a container to be made.
func lockName(engine, id string) (*Lock, error) {
	return lock(nameLock(engine, id), fmt.Sprintf("%s container %q", engine, id))
}

// nameLock is the file of the lock of a name.
func nameLock(engine, id string) string {
	sum := sha256.Sum256([]byte(engine + "\x00" + id))
	return fmt.Sprintf("name-%x.lock", sum[:12])
}

// heirPatience is how long a lock is waited for whose holder is dead.
const heirPatience = 20 * time.Second

// lock takes the lock in the file called name, or fails with a BusyError about what.
func lock(name, what string) (*Lock, error) {
	dir, err := lockDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	begin := time.Now()
	for tries := 0; ; tries++ {
		f, err := private.OpenFile(path, os.O_RDWR)
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", what, err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			pid := readPid(f)
			f.Close()
			if !errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("locking %s: flock %s: %w", what, path, err)
			}
			// A sweep holds a lock for a moment only, and the watchdog of one that was killed
			// until it has cleaned up.
			dead := pid > 0 && !process{pid: pid}.alive()
			if tries < 2 || dead && time.Since(begin) < heirPatience {
				time.Sleep(time.Duration(min(tries+1, 20)) * time.Millisecond)
				continue
			}
			return nil, &BusyError{What: what, Pid: pid}
		}
		// The file may have been removed by its holder between open and flock: a
		// lock on a removed file keeps nobody out.
		if same(f, path) {
			if err := f.Truncate(0); err == nil {
				_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
			}
			return &Lock{file: f}, nil
		}
		f.Close()
	}
}

// Unlock removes the lock, and files that the dead have left: they lock nothing, but
// nobody else would ever remove them.
func (l *Lock) Unlock() {
	os.Remove(l.file.Name())
	l.file.Close()
	sweep(filepath.Dir(l.file.Name()))
}

// sweep removes the files of locks that nobody holds. Young ones are left alone: their
// makers may be just about to lock them.
func sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || filepath.Ext(e.Name()) != ".lock" || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, e.Name()), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil && same(f, f.Name()) {
			os.Remove(f.Name())
		}
		f.Close()
	}
}

// lockDir returns a directory for locks that belongs to us alone: /run/rethaw, or for
// who may not write there one below $XDG_RUNTIME_DIR or the temporary directory.
func lockDir() (string, error) {
	dirs := []string{"/run/rethaw"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, filepath.Join(dir, "rethaw"))
	}
	dirs = append(dirs, filepath.Join(os.TempDir(), fmt.Sprintf("rethaw-%d", os.Getuid())))
	var failed error
	for _, dir := range dirs {
		if err := ownDir(dir); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		return dir, nil
	}
	return "", fmt.Errorf("no directory for locks: %w", failed)
}

// ownDir makes dir, or takes one that is there if it is a directory of ours that
// nobody else may write to.
func ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s is not a directory of user %d alone", dir, os.Getuid())
	}
	if st.Mode&0o700 != 0o700 { // the umask has taken it away
		if err := os.Chmod(dir, os.FileMode(st.Mode&0o777|0o700)); err != nil {
			return err
		}
	}
	return unix.Access(dir, unix.W_OK)
}

// same tells whether path still leads to f.
func same(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(path)
	return err == nil && os.SameFile(a, b)
}

// readPid reads the pid that the holder of a lock wrote into its file.
func readPid(f *os.File) int {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}
