package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/rethaw/rethaw/internal/agent"
	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// seizeOptions kill everything with us, and have the kernel attach what is
// forked.
const seizeOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL | ptraceOSuspendSeccomp

// ptraceOSuspendSeccomp is PTRACE_O_SUSPEND_SECCOMP (ptrace(2)).
const ptraceOSuspendSeccomp = 1 << 21

// permittedOptions are those of seizeOptions that we have the right to.
func permittedOptions() int {
	if !kernel.Privileged(unix.CAP_SYS_ADMIN) {
		// No filter is in force that we have not ourselves, and then nothing lifts it.
		return seizeOptions &^ ptraceOSuspendSeccomp
	}
	return seizeOptions
}

// armOptions are those until the exec. The processes that the runtime's init
// forks meanwhile are hooks: they are left alone.
const armOptions = seizeOptions &^ (unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK)

// alert is how long awaitExec looks again and again, as it does for a runtime that is on its
// way; after that it waits to be told of a change, which may take hours.
const alert = 200 * time.Millisecond

// catch seizes the runtime's init, lets the runtime start it, and stops it at the
// exec of the container's process.
func (r *restorer) catch(ctx context.Context, c Container) error {
	r.engineEnd = c.End
	threads, err := r.seizeInit(c.Init)
	if err != nil {
		return fmt.Errorf("seize the runtime's init %d: %w", c.Init, err)
	}
	if err := r.enterClocks(c.Init, threads); err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() { started <- c.Start(ctx) }()
	if err := r.awaitExec(ctx, c.Init, threads, started, c.Patience); err != nil {
		return err
	}
	if err := ptrace.Attached(c.Init).SetOptions(seizeOptions); err != nil {
		return err
	}
	if err := r.adoptRoot(c.Init); err != nil {
		return err
	}
	if err := r.readEnviron(); err != nil {
		return err
	}
	if err := r.meetUsers(); err != nil {
		return err
	}
	if r.space, err = ns.Start(c.Init, ns.Mount|ns.UTS|ns.IPC|ns.Net); err != nil {
		return err
	}
	r.pids, err = agent.New(c.Init)
	return err
}

// adoptRoot makes the stopped thread pid the root task.
func (r *restorer) adoptRoot(pid int) error {
	t := r.root
	t.pid, t.at = pid, pid
	t.threads[0].traced = ptrace.Attached(pid)
	r.made = append(r.made, t)
	status, err := procfs.ReadStatus(pid)
	if err != nil {
		return err
	}
	t.sid = int32(status.NSsid[len(status.NSsid)-1])
	r.outerSID = t.sid
	return nil
}

// seizeInit seizes all threads of the runtime's init: any of them may execute.
func (r *restorer) seizeInit(pid int) (map[int]*ptrace.Thread, error) {
	threads := map[int]*ptrace.Thread{}
	for {
		tids, err := procfs.ListTasks(pid)
		if err != nil {
			return nil, err
		}
		fresh := 0
		for _, tid := range tids {
			if threads[tid] != nil {
				continue
			}
			th, err := ptrace.Seize(tid, armOptions)
			if errors.Is(err, ptrace.ErrGone) {
				continue
			}
			if err != nil {
				return nil, err
			}
			threads[tid] = th
			fresh++
		}
		if fresh == 0 {
			return threads, nil
		}
	}
}

// awaitExec lets the threads of init run until one of them has executed the
// container's process, and stops it before its first instruction. It gives up
// after patience, unless that is 0.
func (r *restorer) awaitExec(ctx context.Context, init int, threads map[int]*ptrace.Thread, started <-chan error, patience time.Duration) error {
	begin := time.Now()
	// The kernel tells a tracer of stops by SIGCHLD. One that the process had
	// before this line shows at the first look.
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGCHLD)
	defer signal.Stop(changed)
	for patience == 0 || time.Since(begin) < patience {
		select {
		case err := <-started:
			if err != nil {
				return err
			}
			started = nil
		default:
		}
		executed, err := r.attend(init, threads)
		if err != nil {
			return err
		}
		if executed {
			// Registers set here would be lost to the return of execve:
			// go on into a trap before the first instruction.
			_, err := ptrace.Attached(init).Halt()
			return err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if time.Since(begin) < alert {
			pause := unix.Timespec{Nsec: 50_000}
			_ = unix.Nanosleep(&pause, nil)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case err := <-started:
			if err != nil {
				return err
			}
			started = nil
		case <-time.After(time.Second):
		}
	}
	return fmt.Errorf("the runtime's init %d did not execute the container's process: %w", init, ptrace.ErrTimeout)
}

// attend looks at all threads of the runtime's init once and lets go on those that
// have stopped, until one stands in its exec.
func (r *restorer) attend(init int, threads map[int]*ptrace.Thread) (executed bool, err error) {
	for tid, th := range threads {
		stop, stopped, err := th.Poll()
		if errors.Is(err, ptrace.ErrGone) || (stopped && stop.Kind >= ptrace.Exited) {
			if tid == init && stopped {
				return false, fmt.Errorf("%w: the runtime's init ended (%v %d) before it executed the container's process", ErrNotStarted, stop.Kind, stop.Signal)
			}
			if tid != init {
				_ = th.Reap()
				delete(threads, tid)
			}
			continue
		}
		if err != nil {
			return false, err
		}
		if !stopped {
			continue
		}
		// Whichever thread executes, it has the number of the first one then.
		if tid == init && stop.Kind == ptrace.Event && stop.Event == unix.PTRACE_EVENT_EXEC {
			return true, nil
		}
		if err := r.passOn(th, stop, threads); err != nil && !errors.Is(err, ptrace.ErrGone) {
			return false, err
		}
	}
	return false, nil
}

// passOn resumes a thread of the runtime's init from a stop that is not ours.
func (r *restorer) passOn(th *ptrace.Thread, stop ptrace.Stop, threads map[int]*ptrace.Thread) error {
	signal := 0
	switch stop.Kind {
	case ptrace.Signal:
		signal = stop.Signal
	case ptrace.Event:
		if tid, err := th.EventMessage(); err == nil && tid > 0 && threads[tid] == nil && stop.Event != unix.PTRACE_EVENT_VFORK_DONE {
			threads[tid] = ptrace.Attached(tid)
		}
	}
	return th.Cont(signal)
}

// zombiePatience is how long the former holder of a pid may take to be reaped.
const zombiePatience = 3 * time.Second

// spawnAs makes a placeholder with a pid. The tree that was checkpointed may have
// left a zombie of that number, which its parent reaps any moment.
func spawnAs(pid int, exe string) (*agent.Spawned, error) {
	deadline := time.Now().Add(zombiePatience)
	for {
		if _, err := os.Stat(exe); err != nil {
			exe = "/proc/self/exe" // its own is executed later, from a descriptor
		}
		s, err := agent.Spawn(agent.Placeholder{SetTID: []int{pid}, Exe: exe, Args: []string{exe}})
		if !errors.Is(err, unix.EEXIST) || time.Now().After(deadline) {
			return s, err
		}
		stat, serr := procfs.ReadStat(pid)
		if serr == nil && stat.State != 'Z' && stat.State != 'X' {
			return s, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// spawnPatience is how long a placeholder of our own may take to its exec.
const spawnPatience = time.Minute

// spawn makes a placeholder for a host tree, with the root's own pid.
func (r *restorer) spawn(ctx context.Context) error {
	same, err := sameBoot(r.img.Header())
	if err != nil {
		return err
	}
	r.clocks = clocks{monotonic: same, boottime: same}
	pid := int(r.root.rec.PID)
	exe, err := r.exePath(r.root)
	if err != nil {
		return err
	}
	s, err := spawnAs(pid, exe)
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%w: process %d has a number of the image; end it, or restore when it has ended", ErrPIDTaken, pid)
	}
	if err != nil {
		return err
	}
	defer s.Close()
	th, err := ptrace.Seize(s.PID, permittedOptions())
	if err != nil {
		return err
	}
	if err := s.Exec(); err != nil {
		return err
	}
	started := make(chan error)
	if err := r.awaitExec(ctx, s.PID, map[int]*ptrace.Thread{s.PID: th}, started, spawnPatience); err != nil {
		return errors.Join(err, s.Err())
	}
	if err := r.adoptRoot(s.PID); err != nil {
		return err
	}
	r.pids, err = agent.New(s.PID)
	return err
}
