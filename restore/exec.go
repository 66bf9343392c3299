package restore

import (
	"fmt"
	"os"
	"slices"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// exePath is the path of a task's program, seen from the container's root.
func (r *restorer) exePath(t *task) (string, error) {
	rec, err := r.img.Record(t.rec.Exe)
	if err != nil {
		return "", err
	}
	switch rec := rec.(type) {
	case *specs.Regular:
		return rec.Path, nil
	case *specs.Shared: // a memfd
		return "/memfd:" + rec.Name + " (deleted)", nil
	}
	return "", fmt.Errorf("%w: its program is a %T", ErrUnfit, rec)
}

// execute gives a task its program file (/proc/PID/exe), which the kernel lets
// only execve(2) set without privileges. A task that has its parent's program
// keeps it, and with it the pages that it shares with the parent.
func (r *restorer) execute(t *task) error {
	if donor := t.donor(); donor != nil && donor.rec.Exe == t.rec.Exe && t.layout.areas != nil {
		return nil
	}
	path, err := r.exePath(t)
	if err != nil {
		return err
	}
	if t.arena == nil {
		link, err := procfs.Readlink(t.pid, "exe")
		if err != nil {
			return err
		}
		if err := r.enterSpace(t); err != nil {
			return err
		}
		if link == path {
			return nil
		}
	}
	if err := r.execve(t, path); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return r.enterSpace(t)
}

// donor is the task whose memory this one was forked with: its parent, or
// through helpers, which leave their memory as it is, a task above.
func (t *task) donor() *task {
	d := t.parent
	for d != nil && d.helper() {
		d = d.parent
	}
	return d
}

// execve has the task execute path, up to its first instruction.
func (r *restorer) execve(t *task, path string) error {
	f, err := r.mapped(t.rec.Exe)
	if err != nil {
		return err
	}
	numbers, err := r.send(t, []*os.File{f})
	if err != nil {
		return err
	}
	data, at := t.arena.Data()
	// argv = {"rethaw", NULL}, envp = {NULL}, path = "": the descriptor counts.
	clear(data[:64])
	copy(data[32:], "rethaw\x00")
	putWord(data[0:], at+32)
	call := inject.Call{Nr: unix.SYS_EXECVEAT, Args: [6]uint64{uint64(numbers[0]), at + 48, at, at + 16, unix.AT_EMPTY_PATH}}
	th := t.leader()
	executed := fmt.Errorf("executed") // tells success out of the batch
	err = t.arena.Run(th, []inject.Call{call}, func(s ptrace.Stop) error {
		if s.Event == unix.PTRACE_EVENT_EXEC {
			return executed
		}
		return nil
	})
	if err != executed {
		if err == nil {
			err = r.lastErrno(t)
		}
		return err
	}
	_, err = th.Halt()
	return err
}

// lastErrno is the result of the call that a batch began with.
func (r *restorer) lastErrno(t *task) error {
	return &inject.Error{Call: "execveat", TID: t.pid, Err: unix.ENOEXEC}
}

// enterSpace maps an arena into the present address space of a task and reads
// what else is mapped.
func (r *restorer) enterSpace(t *task) error {
	areas, err := procfs.ReadMaps(t.pid)
	if err != nil {
		return err
	}
	t.layout.areas = areas
	gate, err := t.gate()
	if err != nil {
		return err
	}
	if err := t.leader().SetSigMask(^uint64(0)); err != nil {
		return err
	}
	if t.arena, err = inject.NewArena(t.leader(), gate, r.place.arena); err != nil {
		return err
	}
	return nil
}

// gate finds the system call instruction in the vdso of a task whose areas are known.
func (t *task) gate() (uint64, error) {
	mem, err := t.openMem()
	if err != nil {
		return 0, err
	}
	defer mem.Close()
	return t.layout.gate(mem)
}

// gate finds it through the memory of a process with these areas.
func (l *layout) gate(mem *os.File) (uint64, error) {
	vdso, err := l.find("[vdso]")
	if err != nil {
		return 0, err
	}
	return inject.Gate(mem, inject.Range{Start: vdso.Start, End: vdso.End})
}

// find looks an area up by its name.
func (l *layout) find(name string) (procfs.VMA, error) {
	i := slices.IndexFunc(l.areas, func(v procfs.VMA) bool { return v.Path == name })
	if i < 0 {
		return procfs.VMA{}, fmt.Errorf("%s: %w", name, errNoVDSO)
	}
	return l.areas[i], nil
}
