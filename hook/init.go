package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// errEnded means that the container has ended.
var errEnded = errors.New("the container has ended")

// initTask is the container's init, at first still the runtime's program.
type initTask struct {
	pid   int
	pidfd *os.File
	// before is the program of the runtime.
	before inode
	// ended is closed when the task has ended.
	ended chan struct{}
}

// inode identifies a file.
type inode struct{ dev, ino uint64 }

// watchInit gets hold of the runtime's init, which has not executed the container's process
// yet.
func watchInit(pid int) (*initTask, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("the runtime's init %d: %w", pid, os.NewSyscallError("pidfd_open", err))
	}
	t := &initTask{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd"), ended: make(chan struct{})}
	if t.before, err = t.program(); err != nil {
		t.pidfd.Close()
		return nil, err
	}
	go t.wait()
	return t, nil
}

// wait waits for the end.
func (t *initTask) wait() {
	defer close(t.ended)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(t.pidfd.Fd()), Events: unix.POLLIN}}, -1)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// close gives the task up. The descriptor stays as long as it is waited for.
func (t *initTask) close() {
	select {
	case <-t.ended:
		t.pidfd.Close()
	default:
	}
}

// program identifies what the task executes.
func (t *initTask) program() (inode, error) {
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/exe", t.pid), &st); err != nil {
		return inode{}, fmt.Errorf("the program of the runtime's init %d: %w", t.pid, err)
	}
	return inode{st.Dev, st.Ino}, nil
}

// started waits until the container's process runs in the place of the runtime's
// program. That may take long: the looks become rare.
func (t *initTask) started(ctx context.Context) error {
	begin := time.Now()
	for {
		now, err := t.program()
		if err == nil && now != t.before {
			return nil
		}
		// A zombie has no program.
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
			return err
		}
		if err := t.pause(ctx, patience(time.Since(begin))); err != nil {
			return err
		}
	}
}

// pause sleeps, unless the container or the agent ends before.
func (t *initTask) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-t.ended:
		return errEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// patience is the pause between two looks for something that has not come for a time:
// short at first, when it matters most.
func patience(waited time.Duration) time.Duration {
	switch {
	case waited < 10*time.Second:
		return 5 * time.Millisecond
	case waited < time.Minute:
		return 25 * time.Millisecond
	}
	return 200 * time.Millisecond
}
