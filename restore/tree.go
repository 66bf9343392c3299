package restore

import (
	"errors"
	"slices"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// task is one process that is being made.
type task struct {
	id       specs.ID
	rec      *specs.Task
	parent   *task
	children []*task
	threads  []*thread
	// pid is the host's number, at that by which /proc and system calls find what
	// the threads have in common: another one if the leader has ended.
	pid, at int
	// arena is where system calls are run in it; children share it until they
	// execute a program.
	arena *inject.Arena
	mm    *specs.Memory
	// now is what is mapped in it at present.
	layout layout
	// sid is the session that it is in at present.
	sid int32
	// ghost marks a helper that stands in for a session leader that is dead.
	ghost bool
}

// thread is one kernel task that is being made.
type thread struct {
	rec    *specs.Thread
	traced *ptrace.Thread
	// fresh is what it was like at first, once that has been read.
	fresh *procfs.Status
}

// leader is the thread that everything is run in: the first of those that live.
func (t *task) leader() *ptrace.Thread { return t.threads[0].traced }

// plan reads the tasks of the image and puts them into a tree. Tasks whose
// parent is outside or dead become children of the root.
func (r *restorer) plan() error {
	byPID := map[int32]*task{}
	for id, rec := range image.Each[*specs.Task](r.img) {
		t := &task{id: id, rec: rec}
		r.tasks = append(r.tasks, t)
		byPID[rec.PID] = t
		for _, tid := range rec.Threads {
			th, err := image.Get[*specs.Thread](r.img, tid)
			if err != nil {
				return err
			}
			t.threads = append(t.threads, &thread{rec: th})
		}
		if len(t.threads) == 1 && t.threads[0].rec.Ended {
			return taskError("plan", t, errAlone)
		}
		if rec.Memory != 0 {
			mm, err := image.Get[*specs.Memory](r.img, rec.Memory)
			if err != nil {
				return err
			}
			t.mm = mm
		}
		if id == r.img.Header().Root {
			r.root = t
		}
	}
	if r.root == nil {
		return errors.New("image has no root task")
	}
	for _, t := range r.tasks {
		if t == r.root {
			continue
		}
		t.parent = byPID[t.rec.PPID]
		if t.parent == nil {
			t.parent = r.root
		}
	}
	if err := r.planSessions(byPID); err != nil {
		return err
	}
	for _, t := range r.tasks {
		if t.parent != nil {
			t.parent.children = append(t.parent.children, t)
		}
	}
	for _, t := range r.tasks {
		slices.SortStableFunc(t.children, func(a, b *task) int { return int(a.rec.PID) - int(b.rec.PID) })
	}
	if r.img.Window() != 0 {
		r.sortByPlace(r.root)
	}
	return nil
}

// grow completes a task that exists and stands still, and then makes those below
// it. The session is set in between: children that are in the task's former
// session are forked before it leads one of its own.
func (r *restorer) grow(t *task) error {
	if !t.helper() {
		if err := r.execute(t); err != nil {
			return taskError("execute program", t, err)
		}
		if err := r.restoreSpace(t); err != nil {
			return taskError("restore memory", t, err)
		}
	}
	leads := t.rec.SID == t.rec.PID && t.sid != t.rec.SID
	for _, c := range t.children {
		if leads && c.rec.SID == t.sid {
			if err := r.fork(t, c); err != nil {
				return err
			}
		}
	}
	if leads {
		if _, err := r.call(t, unix.SYS_SETSID); err != nil {
			return taskError("start session", t, err)
		}
		t.sid = t.rec.PID
	}
	if err := r.acquire(t); err != nil {
		return taskError("start session", t, err)
	}
	for _, c := range t.children {
		if c.pid == 0 {
			if err := r.fork(t, c); err != nil {
				return err
			}
		}
	}
	if err := r.settleSpace(t); err != nil {
		return taskError("restore memory", t, err)
	}
	return nil
}

// helper tells whether a task lives only until all others are made: a ghost, or
// one that is a zombie in the image.
func (t *task) helper() bool { return t.ghost || t.rec.State == "zombie" }

// fork makes child by a clone in parent, with the child's own pid.
func (r *restorer) fork(parent, child *task) error {
	if child.pid != 0 {
		return nil
	}
	signal := child.rec.ExitSignal
	if signal == 0 && child.ghost {
		signal = int32(unix.SIGCHLD)
	}
	flags := uint64(signal) & 0xff
	if !child.helper() {
		for flag, same := range map[uint64]bool{
			unix.CLONE_VM:    child.rec.Memory == parent.rec.Memory,
			unix.CLONE_FILES: child.rec.FDs == parent.rec.FDs,
			unix.CLONE_FS:    child.rec.FS == parent.rec.FS,
		} {
			if same {
				flags |= flag
			}
		}
	}
	tid, err := r.clone(parent, child.rec.PID, flags)
	if err != nil {
		return taskError("fork", child, err)
	}
	child.pid, child.at, child.sid = tid, tid, parent.sid
	child.arena, child.layout = parent.arena, parent.layout
	if len(child.threads) == 0 {
		child.threads = []*thread{{}}
	}
	child.threads[0].traced = ptrace.Attached(tid)
	r.made = append(r.made, child)
	if _, err := child.leader().AwaitTrap(ptrace.Patience, nil); err != nil {
		return taskError("fork", child, err)
	}
	return r.grow(child)
}
