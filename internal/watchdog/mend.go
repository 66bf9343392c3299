package watchdog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// Mend is a cgroup of version 2 that is frozen while its threads are stopped: some of them stand in
// system calls that the freezer, as any stop, has made return EINTR. That is mended in each thread
// before they are thawed, and no program sees it.
type Mend struct {
	// Dir is the directory of the cgroup.
	Dir string `json:"dir"`
}

const (
	// letGo is how long all may take: a tracer that died to let its threads go, and they to stop. stops is how long one
	// thread may take, leastStops when letGo is over: those that sleep deep in the kernel are not in such a call.
	letGo      = 5 * time.Second
	stops      = time.Second
	leastStops = 50 * time.Millisecond
)

// Do mends and thaws.
func (m *Mend) Do() error {
	tracer := ptrace.NewTracer()
	defer tracer.Close()
	return tracer.Do(func() error {
		err := m.mend()
		// Whatever came of it, they go on.
		return errors.Join(err, os.WriteFile(filepath.Join(m.Dir, "cgroup.freeze"), []byte("0"), 0))
	})
}

// mend goes through all threads of the cgroup. They are frozen, so that none comes or goes.
func (m *Mend) mend() error {
	pids, err := Members(m.Dir)
	if err != nil {
		return err
	}
	var errs []error
	deadline := time.Now().Add(letGo)
	for _, pid := range pids {
		tids, err := procfs.ListTasks(pid)
		if err != nil {
			continue // it ended
		}
		for _, tid := range tids {
			if err := mendThread(tid, deadline); err != nil && !errors.Is(err, ptrace.ErrGone) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func mendThread(tid int, deadline time.Time) error {
	th, err := ptrace.Seize(tid, 0)
	for errors.Is(err, unix.EPERM) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // it is the dead tracer's still
		th, err = ptrace.Seize(tid, 0)
	}
	if err != nil {
		return err
	}
	if err := th.Interrupt(); err != nil {
		return err
	}
	if _, err := th.AwaitTrap(min(stops, max(time.Until(deadline), leastStops)), nil); err != nil {
		if errors.Is(err, ptrace.ErrTimeout) {
			return nil // it is let go with our own end
		}
		return err
	}
	regs, err := th.Registers()
	if err == nil && inject.Reissue(&regs) {
		err = th.SetRegisters(&regs)
	}
	return errors.Join(err, th.Detach())
}

// Members lists the processes in a cgroup and those below it.
func Members(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			pids = append(pids, pid)
		}
		return nil
	})
	return pids, err
}
