package hook

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/ask"
)

// agentPatience is how long an agent may take to end after its container: it may be
// writing down what became of an image.
const agentPatience = 3 * time.Second

// poststop takes away what the other stages left. The record of a failure stays, until
// the next container of the name: it is what `rethaw status` tells.
func poststop(s *runtimespec.State, _ *Wishes) error {
	where := placeOf(s.ID, s.Bundle)
	r, err := readRecord(where)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errors.Join(err, where.remove())
	}
	if err := r.end(); err != nil {
		return err
	}
	if err := r.unmake(where); err != nil {
		return err
	}
	// The agent may have written a last word.
	if last, err := readRecord(where); err == nil {
		r = last
	}
	if r.State == Failed {
		return removeFile(where.socket())
	}
	return where.remove()
}

// end waits for the agent, and ends it if that takes too long.
func (r *Record) end() error {
	if !r.alive() {
		return nil
	}
	fd, err := unix.PidfdOpen(r.Agent, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !r.alive() {
		return nil // the number is another's by now
	}
	for _, signal := range []unix.Signal{0, unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return os.NewSyscallError("pidfd_send_signal", err)
		}
		ended, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(agentPatience.Milliseconds()))
		if ended > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}

// unmake removes the file that the socket was mounted on, unless others need it.
func (r *Record) unmake(where place) error {
	if r.Mountpoint == "" {
		return nil
	}
	defer lockMountpoints(unix.LOCK_EX)()
	if shared(r.Mountpoint, where) {
		return nil
	}
	return removeMountpoint(r.Mountpoint)
}

// shared tells whether another container with a socket has the root filesystem: the file
// that ours was mounted on is the one of that too, and removing it would take the mount
// away.
func shared(rootfs string, except place) bool {
	for _, other := range places() {
		if other == except {
			continue
		}
		if r, err := readRecord(other); err == nil && r.Mountpoint == rootfs && r.alive() {
			return true
		}
	}
	return false
}

// removeMountpoint removes the empty file that a socket was mounted on.
func removeMountpoint(rootfs string) error {
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil // it is gone, or unmounted
	}
	defer unix.Close(root)
	dir, err := openInside(root, filepath.Dir(ask.Socket), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return nil
	}
	defer unix.Close(dir)
	name := filepath.Base(ask.Socket)
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return nil
	}
	if st.Mode != unix.S_IFREG|mountpointMode || st.Size != 0 {
		return nil // not what we made
	}
	if err := unix.Unlinkat(dir, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unlink", Path: filepath.Join(rootfs, ask.Socket), Err: err}
	}
	return nil
}

// removeFile removes a file that may be gone.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// places lists those of all containers.
func places() []place {
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil
	}
	var all []place
	for _, e := range entries {
		all = append(all, place(filepath.Join(base, e.Name())))
	}
	return all
}
