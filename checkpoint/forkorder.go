package checkpoint

import (
	"cmp"
	"slices"
)

// forkOrder is the order in which a restore makes the processes that live, and so the one
// in which it asks for their pages: from the root down, each with all below it before the
// next. A restore checks before it begins that the pages come in its own order; where
// this one is another it needs the whole image first.
func (d *dump) forkOrder() []*process {
	root := d.find(func(p *process) bool { return p.pid == d.target.Init })
	if root == nil {
		return d.live()
	}
	children := map[*process][]*process{}
	for _, p := range d.procs {
		if p != root {
			up := d.forker(root, p)
			children[up] = append(children[up], p)
		}
	}
	var order []*process
	seen := map[*process]bool{}
	var visit func(p *process)
	visit = func(p *process) {
		if seen[p] {
			return
		}
		seen[p] = true
		if !p.zombie {
			order = append(order, p)
		}
		list := children[p]
		slices.SortStableFunc(list, func(a, b *process) int {
			return cmp.Or(cmp.Compare(forkRank(p, a), forkRank(p, b)), cmp.Compare(forkNumber(p, a), forkNumber(p, b)), cmp.Compare(a.nspid, b.nspid))
		})
		for _, c := range list {
			visit(c)
		}
	}
	visit(root)
	for _, p := range d.live() { // what no way leads to
		visit(p)
	}
	return order
}

// find finds a process.
func (d *dump) find(is func(*process) bool) *process {
	if i := slices.IndexFunc(d.procs, is); i >= 0 {
		return d.procs[i]
	}
	return nil
}

// forker is the process below which p is made: its parent, or the leader of its session
// if it can have that from nobody else.
func (d *dump) forker(root, p *process) *process {
	up := p.parent
	if up == nil {
		up = root
	}
	sid := p.record.SID
	if sid == p.record.PID || sid == 0 || sid == up.record.SID || formerSession(up, p) {
		return up
	}
	if leader := d.find(func(o *process) bool { return o.record.PID == sid }); leader != nil && leader != p {
		return leader
	}
	return up
}

// formerSession tells whether p is in the session that its parent was in before it
// started one.
func formerSession(up, p *process) bool {
	return up.record.SID == up.record.PID && up.parent != nil && p.record.SID == up.parent.record.SID
}

// forkRank puts children first that are in the parent's former session.
func forkRank(up, p *process) int {
	if formerSession(up, p) && p.record.SID != up.record.SID {
		return 0
	}
	return 1
}

// forkNumber is what children are sorted by: their own number, or the session's for those
// of a session whose leader is dead, which come together.
func forkNumber(up, p *process) int32 {
	sid := p.record.SID
	if sid == p.record.PID || sid == 0 || sid == up.record.SID || formerSession(up, p) {
		return p.record.PID
	}
	return sid
}
