package checkpoint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/internal/tty"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// pty is a pseudo-terminal with what the tree has of it.
type pty struct {
	index  int32
	master *openFile
	slaves []*openFile
	// console marks the container's own, whose master is outside.
	console bool
	// controls are the tasks whose controlling terminal it is.
	controls []*process
	// record names it in tasks.
	record specs.ID
}

// terminalKind saves both ends of pseudo-terminals and /dev/tty.
func terminalKind() fileKind {
	return fileKind{
		name:   "terminal",
		is:     isTerminal,
		refuse: refuseTerminal,
		save:   saveTerminal,
	}
}

func isTerminal(f *openFile) bool {
	if f.stat.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	dev := f.device()
	return isSlave(dev) || dev[0] == tty.TTYMajor && (dev[1] == tty.CurrentMinor || dev[1] == tty.PtmxMinor)
}

// isSlave tells whether a device is a slave.
func isSlave(dev [2]uint32) bool {
	return dev[0] >= tty.SlaveMajor && dev[0] < tty.SlaveMajor+tty.SlaveMajors
}

// ptyOf finds the pair that a file is an end of; nil for one that has hung up.
func (d *dump) ptyOf(f *openFile) (*pty, error) {
	own, err := f.file()
	if err != nil {
		return nil, err
	}
	if dev := f.device(); dev[0] == tty.TTYMajor && dev[1] == tty.PtmxMinor {
		n, err := tty.Number(own)
		if err != nil {
			return nil, err
		}
		return d.pty(int32(n)), nil
	}
	if tty.HungUp(own) {
		return nil, nil
	}
	n, err := tty.Device(own)
	if err != nil {
		return nil, err
	}
	if !isSlave([2]uint32{unix.Major(n), 0}) {
		return nil, f.unsupported("is no pseudo-terminal", "close it before the checkpoint")
	}
	return d.pty(int32(unix.Minor(n))), nil
}

// pty gives the pair of a number.
func (d *dump) pty(index int32) *pty {
	if d.ptys == nil {
		d.ptys = map[int32]*pty{}
	}
	if d.ptys[index] == nil {
		d.ptys[index] = &pty{index: index}
	}
	return d.ptys[index]
}

// devpts is the device of the filesystem at /dev/pts, which numbers the
// terminals.
func (d *dump) devpts() uint64 {
	var stat unix.Stat_t
	if unix.Fstatat(int(d.root.Fd()), "dev/pts", &stat, 0) != nil {
		return 0
	}
	return stat.Dev
}

// findTerminals puts ends together, once all descriptors are known.
func (d *dump) findTerminals() {
	d.ptys = nil
	for _, f := range d.files.all {
		if !isTerminal(f) || f.info.Flags&unix.O_PATH != 0 || !d.ownTerminal(f) {
			continue // of another kind, refused, or stdio
		}
		p, err := d.ptyOf(f)
		if p == nil || err != nil {
			continue // it ended meanwhile, or has hung up
		}
		if f.device() == [2]uint32{tty.TTYMajor, tty.PtmxMinor} {
			p.master = f
		} else {
			p.slaves = append(p.slaves, f)
		}
	}
	for _, p := range d.live() {
		if n := uint64(p.stat.TTYNr); n != 0 && isSlave([2]uint32{unix.Major(n), 0}) {
			pair := d.pty(int32(unix.Minor(n)))
			pair.controls = append(pair.controls, p)
		}
	}
	for _, p := range d.ptys {
		p.console = p.master == nil && d.isConsole(p)
	}
}

// isConsole tells whether a terminal whose master is outside is the one that the
// runtime gave the container's process. Others came with tasks that entered from outside.
func (d *dump) isConsole(p *pty) bool {
	if d.target.Host {
		return false
	}
	if d.target.Terminal && p.index == 0 {
		return true
	}
	isInit := func(o *process) bool { return o.pid == d.target.Init }
	return slices.ContainsFunc(p.controls, isInit) ||
		slices.ContainsFunc(p.slaves, func(f *openFile) bool { return isInit(f.proc) && f.fd < 3 })
}

// ownTerminal tells whether a terminal is of the container's devpts. A node of
// ptmx outside of it stands for the devpts beside it (devpts_acquire in
// fs/devpts/inode.c).
func (d *dump) ownTerminal(f *openFile) bool {
	if !d.mounts.inside(f.info.MntID) {
		return false
	}
	return f.device() == [2]uint32{tty.TTYMajor, tty.CurrentMinor} || f.link == "/dev/ptmx" || f.stat.Dev == d.devpts()
}

func refuseTerminal(d *dump, f *openFile) error {
	if !d.ownTerminal(f) {
		return f.unsupported("is a terminal of another devpts than the container's /dev/pts", "close it before the checkpoint")
	}
	p, err := d.ptyOf(f)
	if err != nil {
		return err
	}
	if p == nil {
		if !isSlave(f.device()) {
			return f.unsupported("its terminal has hung up", "close it before the checkpoint")
		}
		return nil
	}
	if f.device() == [2]uint32{tty.TTYMajor, tty.CurrentMinor} && p.master == nil && !p.console && d.ledInside(p) {
		return f.unsupported("is the terminal of a session whose other end is outside", "end that session before the checkpoint")
	}
	own, err := f.file()
	if err != nil {
		return err
	}
	if ordinary, err := tty.Discipline(own); err == nil && !ordinary && p.master != nil {
		return f.unsupported("has a line discipline of its own", "set it back to N_TTY before the checkpoint")
	}
	return nil
}

func saveTerminal(d *dump, f *openFile, base specs.Description) (specs.File, error) {
	r := &specs.Terminal{Description: base, Path: strings.TrimSuffix(f.link, deletedSuffix)}
	p, err := d.ptyOf(f)
	if err != nil {
		return nil, err
	}
	if p == nil {
		r.Index, r.HungUp, r.Gone = int32(f.device()[1]), true, strings.HasSuffix(f.link, deletedSuffix)
		return r, nil
	}
	r.Index, r.Console = p.index, p.console
	switch f.device() {
	case [2]uint32{tty.TTYMajor, tty.PtmxMinor}:
		r.Master, p.master = true, f
	case [2]uint32{tty.TTYMajor, tty.CurrentMinor}:
		r.Current = true
	}
	if p.record == 0 {
		p.record = f.id
	}
	return r, nil
}

// saveTerminals completes what ends of terminals have in common, and tells tasks
// which terminal controls them.
func (d *dump) saveTerminals() error {
	for _, p := range d.ptys {
		if p.master == nil && !p.console {
			d.leaveBehind(p)
			continue
		}
		if err := d.savePair(p); err != nil {
			return fmt.Errorf("save terminal /dev/pts/%d: %w", p.index, err)
		}
		for _, o := range p.controls {
			o.record.TTY = p.record
			if o.stat.Session == o.pid {
				o.record.Foreground = d.foreground(o)
			}
		}
	}
	return nil
}

// ledInside tells whether the session that a terminal controls is led by a task of
// the tree: a job of a host's shell has its session from outside, before and after.
func (d *dump) ledInside(p *pty) bool {
	return !d.target.Host || slices.ContainsFunc(p.controls, func(o *process) bool { return o.stat.Session == o.pid })
}

// leaveBehind marks the slaves of a terminal of one that entered from outside
// (runc exec): whoever sat at it is gone at the restore. To the program that is a
// terminal that has hung up. The console is no substitute: it has a reader
// already.
func (d *dump) leaveBehind(p *pty) {
	if len(p.controls) > 0 && d.ledInside(p) {
		d.log.WithField("task", p.controls[0].nspid).Warnf("/dev/pts/%d controls its session and its other end is outside: the session will have none after a restore", p.index)
	}
	for _, f := range p.slaves {
		if r, ok := f.record.(*specs.Terminal); ok && !r.Current {
			r.HungUp, r.Gone = true, true
			d.log.WithField("task", f.proc.nspid).Warnf("%s: its other end is outside: it will have hung up after a restore", f.name())
		}
	}
}

// foreground gives the foreground group of a session in the tree's numbers; 0 if
// all its members are gone.
func (d *dump) foreground(leader *process) int32 {
	for _, p := range d.procs {
		if p.stat.PGRP == leader.stat.TPGID {
			pgid, _ := p.innerIDs()
			return pgid
		}
	}
	return 0
}
