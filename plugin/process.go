package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// process is a task leader on the host, told from a later one of the same pid by
// its start time.
type process struct {
	pid int
	// start is field 22 of proc_pid_stat(5), in clock ticks since boot; 0 if
	// unknown.
	start uint64
}

// alive tells whether the process is there and not a zombie.
func (p process) alive() bool {
	if p.pid <= 0 {
		return false
	}
	state, start, err := processStat(p.pid)
	if err != nil {
		// That we cannot look does not make it dead.
		return !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ESRCH)
	}
	if state == 'Z' || state == 'X' {
		return false
	}
	return p.start == 0 || p.start == start
}

// await returns when the process has ended, or with the context's error.
func (p process) await(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) || !p.alive() {
		if err == nil {
			unix.Close(fd)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("pidfd_open of pid %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	// The context is looked at between the waits: ends are nearly always there
	// at the first.
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 50)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the end of pid %d: %w", p.pid, err)
		}
		if n > 0 {
			return nil
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
}

// kill sends SIGKILL; await tells the end.
func (p process) kill() error {
	if !p.alive() {
		return nil
	}
	if err := unix.Kill(p.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing pid %d: %w", p.pid, err)
	}
	return nil
}

// processStat reads the state letter and the start time of a process.
func processStat(pid int) (state byte, start uint64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	return parseStat(data)
}

// parseStat takes fields 3 and 22 out of proc_pid_stat(5). The name in field 2 may
// hold anything, so the fields are counted from its last parenthesis.
func parseStat(data []byte) (state byte, start uint64, err error) {
	i := bytes.LastIndexByte(data, ')')
	if i < 0 {
		return 0, 0, errors.New("stat without a name")
	}
	fields := bytes.Fields(data[i+1:])
	if len(fields) < 20 || len(fields[0]) != 1 {
		return 0, 0, fmt.Errorf("stat with %d fields", len(fields))
	}
	start, err = strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("start time in stat: %w", err)
	}
	return fields[0][0], start, nil
}

// dying tells whether a process was killed, though it may have long to go: an init
// waits for the tasks of its namespace, a traced task for its tracer.
func (p process) dying() bool {
	const exiting = 0x4 // PF_EXITING in the kernel's include/linux/sched.h
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return true
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(string(fields[6]), 10, 64)
	if err == nil && flags&exiting != 0 {
		return true
	}
	return fields[0][0] == 'Z' || fields[0][0] == 'X'
}

// parent returns the parent of a process: field 4 of proc_pid_stat(5).
func parent(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("stat of pid %d with %d fields", pid, len(fields))
	}
	return strconv.Atoi(string(fields[1]))
}

// innerPid returns the pid that a process has in its own pid namespace (the last of
// NSpid in proc_pid_status(5)).
func innerPid(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(data) {
		if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			fields := bytes.Fields(rest)
			if len(fields) == 0 {
				break
			}
			return strconv.Atoi(string(fields[len(fields)-1]))
		}
	}
	return 0, fmt.Errorf("pid %d: no NSpid in status", pid)
}
