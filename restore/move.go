package restore

import (
	"os"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Most of the time that it takes to read pages goes into faulting them in, one by
// one. As huge pages they come 512 at a time, but an area that is advised so
// (MADV_HUGEPAGE) keeps that flag for good. So the task reads into a STAGING area
// that is advised, and moves the pages to their place by userfaultfd
// (UFFDIO_MOVE, since Linux 6.8, ioctl_userfaultfd(2)), which only writes page
// tables. What is left there is a private anonymous area like any other. Each
// kernel that lacks a part of this, and each area that does not suit, has its pages
// read to their place instead.

// stagingSize is how much is read before it is moved.
const stagingSize = 16 << 20

// Numbers of include/uapi/linux/userfaultfd.h.
const (
	uffdAPI         = 0xaa
	uffdFeatureMove = 1 << 16
	uffdUserMode    = 1
	uffdModeMissing = 1
	uffdioAPI       = 3<<30 | 24<<16 | 0xaa<<8 | 0x3f
	uffdioRegister  = 3<<30 | 32<<16 | 0xaa<<8 | 0x00
	uffdioUnreg     = 2<<30 | 16<<16 | 0xaa<<8 | 0x01
	uffdioMove      = 3<<30 | 40<<16 | 0xaa<<8 | 0x05
)

// hugePages tells whether huge pages can be had at all, and are of the size that
// is planned with (Documentation/admin-guide/mm/transhuge.rst).
func hugePages() bool {
	const dir = "/sys/kernel/mm/transparent_hugepage/"
	enabled, err := os.ReadFile(dir + "enabled")
	if err != nil || strings.Contains(string(enabled), "[never]") {
		return false
	}
	size, err := os.ReadFile(dir + "hpage_pmd_size")
	return err == nil && strings.TrimSpace(string(size)) == "2097152"
}

// huge tells whether area i may be filled by huge pages: pages move between areas
// of equal protection only, and what the program has said about the area holds.
func (b *builder) huge(i int) bool {
	a := &b.t.mm.Areas[i]
	if a.Shared || a.File != 0 || a.Shmid != 0 || b.inherited[i] != nil || (a.Kind != "anon" && a.Kind != "heap") {
		return false
	}
	if b.initialProt(*a) != unix.PROT_READ|unix.PROT_WRITE {
		return false
	}
	return !slices.ContainsFunc(a.Flags, func(f string) bool { return f == "nh" || f == "lo" || f == "gd" })
}

// move fills runs by way of the staging area. It returns what it could not.
func (b *builder) move(runs []blockRun) (missed []specs.Extent, err error) {
	if len(runs) == 0 {
		return nil, nil
	}
	if err := b.flush(); err != nil {
		return nil, err
	}
	m := mover{b: b, fd: -1}
	if !b.t.rec.THPDisable && !b.r.noMove && hugePages() {
		if err := m.open(); err != nil {
			return nil, err
		}
		for m.fd >= 0 && m.done < len(runs) && m.failed == 0 {
			if err := m.some(runs[m.done:]); err != nil {
				return nil, err
			}
		}
		if err := m.close(); err != nil {
			return nil, err
		}
		b.r.noMove = b.r.noMove || m.done == 0
	}
	for _, run := range runs[m.done:] {
		missed = append(missed, run.reads...)
	}
	b.r.log.WithFields(logrus.Fields{"pid": b.t.rec.PID, "runs": len(runs), "moved": m.done, "reason": m.failed}).Debug("fill by huge pages")
	return missed, nil
}

// mover moves pages inside one task.
type mover struct {
	b *builder
	// fd is the task's userfaultfd, staging tells that the area is mapped.
	fd      int64
	staging bool
	greeted bool
	// done counts the runs that are in their place, failed tells why no more are.
	done   int
	failed unix.Errno
}

// open makes what a task needs for it.
func (m *mover) open() error {
	at := m.b.r.place.staging
	calls := []inject.Call{
		// Only faults of user mode: nothing else is to be had without privileges,
		// and there are none to be served at all.
		{Nr: unix.SYS_USERFAULTFD, Args: [6]uint64{unix.O_CLOEXEC | unix.O_NONBLOCK | uffdUserMode}},
		{Nr: unix.SYS_MMAP, Args: [6]uint64{at, stagingSize, unix.PROT_READ | unix.PROT_WRITE,
			unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED_NOREPLACE | unix.MAP_NORESERVE, ^uint64(0), 0}},
		{Nr: unix.SYS_MADVISE, Args: [6]uint64{at, stagingSize, unix.MADV_HUGEPAGE}},
	}
	if err := m.b.r.run(m.b.t, calls, nil); err != nil {
		return err
	}
	m.fd, m.staging = calls[0].Ret, uint64(calls[1].Ret) == at
	for _, c := range calls {
		if c.Failed() {
			m.failed = unix.Errno(-c.Ret)
		}
	}
	return nil
}

// close takes it away again. The kernel lets go of what is registered still.
func (m *mover) close() error {
	if m.staging {
		m.b.add("unmap staging area", unix.SYS_MUNMAP, m.b.r.place.staging, stagingSize)
	}
	if m.fd >= 0 {
		m.b.add("close userfaultfd", unix.SYS_CLOSE, uint64(m.fd))
	}
	return m.b.flush()
}

// some fills as many runs as fit into one batch. The batch ends at the first call that
// fails: what is behind it must not find the staging area as that call left it.
func (m *mover) some(runs []blockRun) error {
	var c moveCalls
	c.data, c.at = m.b.t.arena.Data()
	if !m.greeted {
		c.ioctl(m.fd, uffdioAPI, uffdAPI, uffdFeatureMove, 0)
		m.greeted = true
	}
	areas, staging := m.b.t.mm.Areas, m.b.r.place.staging
	var ends []int // the call that completes each run
	for i := 0; i < len(runs) && c.room(); {
		a := areaOf(areas, runs[i].start)
		// The whole area at a time: a part would be split off, and would not always
		// grow together with the rest again.
		c.ioctl(m.fd, uffdioRegister, a.Start, a.End-a.Start, uffdModeMissing, 0)
		for ; i < len(runs) && runs[i].start < a.End && c.room(); i++ {
			for _, e := range runs[i].reads {
				c.calls = append(c.calls, m.b.pread(e, staging+e.Start-runs[i].start))
			}
			c.ioctl(m.fd, uffdioMove, runs[i].start, staging, runs[i].size, 0, 0)
			ends = append(ends, len(c.calls)-1)
		}
		c.ioctl(m.fd, uffdioUnreg, a.Start, a.End-a.Start)
	}
	if err := m.b.t.arena.RunToError(m.b.t.leader(), c.calls); err != nil {
		return err
	}
	for _, k := range ends {
		if c.calls[k].Ret != 0 {
			break
		}
		m.done++
	}
	for _, call := range c.calls {
		if call.Failed() {
			m.failed = unix.Errno(-call.Ret)
		}
		if call.Nr == unix.SYS_PREAD64 && call.Ret != inject.NotRun && !call.Failed() {
			if err := complete([]inject.Call{call}); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveCalls is a batch with the structures that it needs.
type moveCalls struct {
	calls []inject.Call
	data  []byte
	at    uint64
	used  int
}

// room tells whether another run fits: a batch is as long as the calls of
// one handshake, about.
func (c *moveCalls) room() bool { return len(c.calls) < inject.MaxCalls && c.used+4096 < len(c.data) }

// ioctl adds an ioctl(2) with a structure of 64-bit words.
func (c *moveCalls) ioctl(fd int64, request uint64, words ...uint64) {
	for i, w := range words {
		putWord(c.data[c.used+i*8:], w)
	}
	c.calls = append(c.calls, inject.Call{Nr: unix.SYS_IOCTL, Args: [6]uint64{uint64(fd), request, c.at + uint64(c.used)}})
	c.used += len(words) * 8
}

// areaOf is the area that an address is in.
func areaOf(areas []specs.Area, at uint64) *specs.Area {
	i, _ := slices.BinarySearchFunc(areas, at, func(a specs.Area, at uint64) int {
		if a.End <= at {
			return -1
		}
		return 1
	})
	return &areas[i]
}
