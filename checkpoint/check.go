package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/rethaw/rethaw/internal/descriptors"
	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// Check is the preflight: it finds what of the target could not be saved, while
// its tasks run. Each problem is an *Unsupported. What changes while it looks is
// passed over; Run looks again when everything stands still.
func Check(ctx context.Context, t Target, o Options) ([]error, error) {
	return lasting(ctx, func() ([]error, error) {
		d := newDump(&t, &o)
		defer d.close()
		return d.check(ctx)
	})
}

// Looks of the preflight, and the pause between two of them.
const (
	looks     = 3
	lookAgain = 5 * time.Millisecond
)

// lasting gives the problems that every look finds. The tasks run meanwhile: a descriptor may be
// closed and lead elsewhere between the reading of its link and of its file, a process be about to end. What
// is found once and not again is left to the look at the standstill.
func lasting(ctx context.Context, look func() ([]error, error)) ([]error, error) {
	problems, err := look()
	for n := 1; n < looks && err == nil && len(problems) > 0; n++ {
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var again []error
		if again, err = look(); err != nil {
			break
		}
		problems = slices.DeleteFunc(problems, func(p error) bool {
			return !slices.ContainsFunc(again, func(o error) bool { return o.Error() == p.Error() })
		})
	}
	return problems, err
}

func (d *dump) check(ctx context.Context) ([]error, error) {
	d.openKernel()
	d.listed.at = time.Now()
	pids, err := d.target.listPids()
	if err != nil {
		return nil, err
	}
	d.listed.pids = pids
	if err := d.enterRoot(); err != nil {
		return nil, err
	}
	var problems []error
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := newProcess(pid)
		err := p.read()
		if err == nil && !p.zombie {
			err = p.open()
		}
		if err != nil {
			if errors.Is(err, ErrUnsupported) {
				problems = append(problems, err)
			}
			if gone(err) || os.IsNotExist(err) || errors.Is(err, ErrUnsupported) {
				continue
			}
			return nil, err
		}
		d.procs = append(d.procs, p)
	}
	d.link()
	room := beginning(d.makeRoom)
	defer func() {
		if err := room.wait(); err != nil {
			d.log.WithError(err).Debug("room for descriptors")
		}
	}()
	if err := d.prepare(); err != nil {
		return nil, err
	}
	if err := d.findSysV(); err != nil {
		return nil, err
	}
	for _, p := range d.live() {
		// What is ending has left its cgroup, its namespaces, its table; it is not there
		// any more when the tasks stand still.
		if found := d.checkProcess(p); len(found) > 0 && !exiting(p.pid, p.at) {
			problems = append(problems, found...)
		}
	}
	d.findRoles()
	if lacking := d.checkRights(); len(lacking) > 0 {
		// What the handlers would find then are the consequences.
		return append(problems, lacking...), nil
	}
	for _, f := range d.files.all {
		if err := d.checkFile(f); err != nil {
			problems = append(problems, err)
		}
	}
	problems = append(problems, d.checkLocks()...)
	problems = append(problems, d.checkHiddenLocks()...)
	return append(problems, d.checkContainer()...), nil
}

// makeRoom prepares our own table for duplicates of all descriptors, though not all
// are needed: if it cannot be that large the rest of the checkpoint will tell.
func (d *dump) makeRoom() error {
	n := 0
	for _, p := range d.procs {
		if fds, err := procfs.ListFDs(p.pid); err == nil {
			n += len(fds)
		}
	}
	return descriptors.Room(n)
}

// checkProcess looks at a process and adds its descriptors to the files.
func (d *dump) checkProcess(p *process) []error {
	var problems []error
	if p.status.TracerPid != 0 {
		problems = append(problems, p.unsupported("task", "is being traced", "end the debugger first"))
	}
	if len(p.status.NSpid) > 0 && d.depth() > 0 && len(p.status.NSpid) > d.depth() {
		problems = append(problems, p.unsupported("task", "is in a pid namespace of its own inside the container", "checkpoint the inner container by itself"))
	}
	problems = append(problems, d.checkNamespaces(p)...)
	problems = append(problems, d.checkTraits(p)...)
	// What changes meanwhile is looked at again at the stop.
	hidden, _ := d.checkUnseen(p)
	problems = append(problems, hidden...)
	if err := d.checkUndo(p); err != nil {
		problems = append(problems, err)
	}
	problems = append(problems, d.checkSharing(p)...)
	fds, err := procfs.ListFDs(p.at)
	if err != nil {
		return problems
	}
	seen, _ := d.lookAll(p, fds)
	for _, f := range seen {
		if f != nil {
			d.noteLocks(f, d.files.find(f))
		}
	}
	areas, err := procfs.ReadMaps(p.at)
	if err != nil {
		return problems
	}
	d.noteMapped(p, areas)
	for i := range areas {
		if err := d.checkArea(p, &areas[i]); err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// depth is how deep the pid namespace of the tree is nested.
func (d *dump) depth() int {
	for _, p := range d.procs {
		if p.pid == d.target.Init {
			return len(p.status.NSpid)
		}
	}
	return 0
}

// checkFile asks the handler of a file's kind.
func (d *dump) checkFile(f *openFile) error {
	kind := kindOf(f)
	if kind == nil {
		if !f.there() {
			return nil
		}
		return f.unknown()
	}
	if kind.refuse == nil {
		return nil
	}
	if err := kind.refuse(d, f); err != nil && f.there() {
		return err
	}
	return nil
}

// there tells whether the descriptor still leads to the file: what has been
// closed since need not be saved. What was seen of a descriptor that a shell moves about all the while may be the name of
// one file and the inode of another, so both are looked at through one open here.
func (f *openFile) there() bool {
	link, err := procfs.Readlink(f.proc.at, fmt.Sprintf("fd/%d", f.fd))
	if err != nil {
		return false
	}
	held, err := unix.Open(f.path(), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return link == f.link
	}
	defer unix.Close(held)
	var stat unix.Stat_t
	if unix.Fstat(held, &stat) != nil || stat.Ino != f.stat.Ino || stat.Dev != f.stat.Dev {
		return false
	}
	link, err = procfs.Readlink(os.Getpid(), fmt.Sprintf("fd/%d", held))
	if err != nil || link != f.link {
		return false
	}
	info, err := procfs.ReadFDInfo(os.Getpid(), held)
	return err == nil && info.MntID == f.info.MntID
}

// checkArea looks at one mapping.
func (d *dump) checkArea(p *process, v *procfs.VMA) error {
	_, known := special[v.Path]
	if noFile(v) && v.Path != "" && !known && v.AnonName == "" {
		return p.unsupported(areaName(v), "is a special mapping that is not known", "unmap it before the checkpoint")
	}
	if err := d.refuseShared(p, v); err != nil {
		return err
	}
	return d.refuseMapped(p, v)
}

// unsupported makes an error about an object of the container, which is told of
// as its first task's.
func (d *dump) unsupported(object, reason, remedy string) error {
	for _, p := range d.procs {
		if p.pid == d.target.Init {
			return p.unsupported(object, reason, remedy)
		}
	}
	return &Unsupported{PID: 1, Comm: "init", Object: object, Reason: reason, Remedy: remedy}
}

// checkContainer looks at what belongs to the container and to no task.
func (d *dump) checkContainer() []error {
	if d.target.Host {
		return nil
	}
	return append(d.checkMqueues(), d.checkMounts()...)
}
