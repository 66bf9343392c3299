package checkpoint

import (
	"sort"

	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// cow finds the pages that a process shares copy-on-write with its parent: both
// page tables lead to the same page at the same address. They stand in the image
// once, and the fork of the restored parent shares them again.
type cow struct {
	own, parent *scanner
	m, up       *specs.Memory
	mine, its   []uint64
	shared      int64
}

const cowWindow = 4096

// newCOW looks at the parent if the process can have pages of it: it was forked
// and has not executed a program since.
func newCOW(d *dump, p *process, m *specs.Memory) *cow {
	c := &cow{m: m}
	up := p.parent
	if !kernel.Privileged(unix.CAP_SYS_ADMIN) {
		return c // page frames do not show: nothing can be told to be the parent's
	}
	if up == nil || up.zombie || up.memory == p.memory || d.spaces[up.memory] == nil ||
		up.stat.StartStack != p.stat.StartStack || up.stat.StartCode != p.stat.StartCode {
		return c
	}
	var err error
	if c.own, err = newScanner(p); err != nil {
		return c
	}
	if c.parent, err = newScanner(up); err != nil {
		c.own.close()
		c.own = nil
		return c
	}
	m.Parent, c.up = up.memory, d.spaces[up.memory]
	c.mine, c.its = make([]uint64, cowWindow), make([]uint64, cowWindow)
	return c
}

func (c *cow) close() {
	if c.own != nil {
		c.own.close()
		c.parent.close()
	}
}

// split divides a run of pages into those that are inherited, which it enters
// into the record, and the others, which it reports.
func (c *cow) split(a *specs.Area, start, end uint64, other func(start, end uint64)) error {
	if c.own == nil || !c.inherits(a) {
		other(start, end)
		return nil
	}
	for start < end {
		stop := min(end, start+cowWindow*pageSize)
		n, err := c.own.entries(start, stop, c.mine)
		if err != nil {
			return err
		}
		k, err := c.parent.entries(start, stop, c.its)
		if err != nil {
			return err
		}
		for i := 0; i < n; {
			same := i < k && samePage(c.mine[i], c.its[i])
			j := i + 1
			for j < n && (j < k && samePage(c.mine[j], c.its[j])) == same {
				j++
			}
			from, to := start+uint64(i)*pageSize, start+uint64(j)*pageSize
			if same {
				c.shared += int64(j - i)
				c.m.Pages = append(c.m.Pages, specs.Extent{Start: from, Count: uint64(j - i), Inherit: true})
			} else {
				other(from, to)
			}
			i = j
		}
		start = stop
	}
	return nil
}

// inherits tells whether a fork of the parent brings the area.
func (c *cow) inherits(a *specs.Area) bool {
	i := sort.Search(len(c.up.Areas), func(i int) bool { return c.up.Areas[i].End > a.Start })
	return i < len(c.up.Areas) && a.HeirOf(&c.up.Areas[i])
}

// samePage tells whether two pagemap entries lead to the same page frame or the
// same place in swap.
func samePage(a, b uint64) bool {
	if a != b {
		return false
	}
	e := procfs.ParsePagemapEntry(a)
	return !e.Exclusive && (e.Present && e.PFN != 0 || e.Swap)
}
