package timens

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// Old kernels, 6.1 among them, have a process enter the time namespace that was made for it by a fork(2) that copies the memory
// alone: a child that shares it for the moment, as all that Go starts, is refused (EINVAL in copy_process()), and an exec does
// not enter either. There unshare(1) forks for us.

// ByExec tells whether what a thread starts and executes enters the namespace that was made for its children. Where none can be
// made, which With tells, it is true.
func ByExec() bool {
	var started error
	err := With(Offsets{Monotonic: int64(time.Second)}, func() error {
		// It fails by the file that is missing, or before.
		_, started = os.StartProcess("/proc/self/fd/-1", []string{"none"}, &os.ProcAttr{})
		return nil
	})
	return err != nil || !errors.Is(started, unix.EINVAL)
}

// Command is the command line of unshare(1) that executes args in a new time namespace whose clocks are so far ahead of ours, and up to a second
// more: it takes whole ones.
func Command(ahead Offsets, args ...string) ([]string, error) {
	ours, err := Of(os.Getpid())
	if err != nil {
		return nil, err
	}
	program, err := exec.LookPath("unshare")
	if err != nil {
		return nil, fmt.Errorf("make a time namespace: %w: install util-linux", err)
	}
	up := func(ns int64) int64 {
		seconds := ns / int64(time.Second)
		if ns > seconds*int64(time.Second) {
			seconds++
		}
		return seconds
	}
	return append([]string{program, "--time", "--fork",
		fmt.Sprintf("--monotonic=%d", up(ours.Monotonic+ahead.Monotonic)),
		fmt.Sprintf("--boottime=%d", up(ours.Boottime+ahead.Boottime)), "--"}, args...), nil
}
