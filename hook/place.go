package hook

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// base has a directory for each container that has, or had, an agent. It can be searched
// by everybody, since the hook of a container with a user namespace has to come to
// its socket; what lies in it is for root alone.
const base = "/run/rethaw/hook"

// Names in the directory of a container.
const (
	statusFile = "status.json"
	logFile    = "log"
	socketFile = "sock"
)

// place is the directory of one container.
type place string

// placeOf names the place of a container: ids are unique to one runtime only, so
// the bundle counts too.
func placeOf(id, bundle string) place {
	sum := sha256.Sum256([]byte(id + "\x00" + bundle))
	if len(id) > 100 {
		id = id[:100]
	}
	return place(filepath.Join(base, fmt.Sprintf("%s-%x", id, sum[:4])))
}

func (p place) status() string { return filepath.Join(string(p), statusFile) }
func (p place) draft() string  { return filepath.Join(string(p), "."+statusFile) }
func (p place) log() string    { return filepath.Join(string(p), logFile) }
func (p place) socket() string { return filepath.Join(string(p), socketFile) }

// make makes the place, without what an earlier container of the name has left.
func (p place) make() error {
	for _, dir := range []string{filepath.Dir(base), base} {
		if err := ownDir(dir); err != nil {
			return err
		}
	}
	sweep()
	if err := p.remove(); err != nil {
		return err
	}
	return ownDir(string(p))
}

// sweepAge is how long the record of a failure is kept if nobody deletes the container.
const sweepAge = 24 * time.Hour

// sweep takes away the places of containers that ended long ago, and whose runtime has
// called nobody to do so.
func sweep() {
	for _, p := range places() {
		r, err := readRecord(p)
		if err == nil && !r.alive() && time.Since(r.Since) > sweepAge {
			// Somebody else may be doing the same.
			_ = p.remove()
		}
	}
}

// remove takes the place away. Only what is made there by us is touched.
func (p place) remove() error {
	for _, path := range []string{p.socket(), p.status(), p.draft(), p.log(), string(p)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ownDir makes a directory of ours, or takes one that is there if nobody else may write to
// it.
func ownDir(dir string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("%s belongs to others, or others may write to it: remove it", dir)
	}
	if st.Mode&0o777 != 0o711 {
		return os.NewSyscallError("fchmod", unix.Fchmod(fd, 0o711))
	}
	return nil
}
