package checkpoint

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/specs"
)

// task fills in the record of a process from outside.
func (d *dump) task(p *process) error {
	pgid, sid := p.innerIDs()
	r := &specs.Task{
		PID: int32(p.nspid), PPID: d.parentID(p), PGID: pgid, SID: sid, Comm: p.stat.Comm,
		UID: p.status.Uid[1], GID: p.status.Gid[1], ExitSignal: int32(p.stat.ExitSignal), State: "running",
	}
	p.record = r
	r.Exec = r.PPID == 0 && p.pid != d.target.Init
	if p.zombie {
		r.State, r.ExitCode = "zombie", int32(p.stat.ExitCode)
		return nil
	}
	if p.threads[0].stop.Kind == ptrace.Group {
		r.State, r.StopSignal = "stopped", int32(p.threads[0].stop.Signal)
	}
	limits, err := procfs.ReadLimits(p.at)
	if err != nil {
		return err
	}
	for _, l := range limits {
		r.Limits = append(r.Limits, l)
	}
	if r.OOMScoreAdj, err = number[int32](p, "oom_score_adj", 10); err != nil {
		return err
	}
	if r.CoredumpFilter, err = number[uint32](p, "coredump_filter", 16); err != nil {
		return err
	}
	if r.Personality, err = number[uint32](p, "personality", 16); err != nil {
		return err
	}
	pending, err := p.threads[0].traced.Pending(true)
	if err != nil {
		return err
	}
	r.Pending = siginfos(pending)
	if p.timers, err = procfs.ReadTimers(p.at); err != nil {
		return err
	}
	return nil
}

// number reads a file of /proc/PID that has one number.
func number[T int32 | uint32](p *process, name string, base int) (T, error) {
	b, err := procfs.ReadFile(p.at, name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), base, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/%s: %w", p.pid, name, err)
	}
	return T(v), nil
}

// innerIDs gives process group and session in the tree's numbers.
func (p *process) innerIDs() (pgid, sid int32) {
	return int32(last(p.status.NSpgid, p.stat.PGRP)), int32(last(p.status.NSsid, p.stat.Session))
}

// parentID is the parent's number in the tree; 0 for one outside.
func (d *dump) parentID(p *process) int32 {
	if p.parent == nil {
		return 0
	}
	return int32(p.parent.nspid)
}

// link finds parents and puts processes in an order in which parents come
// before their children.
func (d *dump) link() {
	byPID := map[int]*process{}
	for _, p := range d.procs {
		byPID[p.pid] = p
	}
	for _, p := range d.procs {
		if p.pid != d.target.Init {
			p.parent = byPID[p.stat.PPID]
		}
	}
	slices.SortStableFunc(d.procs, func(a, b *process) int { return d.depthOf(a) - d.depthOf(b) })
}

// depthOf counts the ancestors of a process; init comes before all others, also
// before those that entered from outside.
func (d *dump) depthOf(p *process) int {
	if p.pid == d.target.Init {
		return 0
	}
	depth := 1
	for up := p.parent; up != nil; up = up.parent {
		depth++
	}
	return depth
}
