package checkpoint

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Settings that the unix package does not name (include/uapi/linux).
const (
	membarrierRegistrations = 1 << 9 // MEMBARRIER_CMD_GET_REGISTRATIONS (since Linux 6.3)
	// membarrierAny are the private commands: a kernel that does not tell is taken to
	// have been asked for all of them, which does no harm.
	membarrierAny     = 1<<4 | 1<<6 | 1<<8
	prGetMemoryMerge  = 68 // since Linux 6.4
	mceKillDefault    = 2
	thpExceptAdvised  = 1 << 1 // of PR_GET_THP_DISABLE
	mpolFAddr         = 1 << 1 // MPOL_F_ADDR of get_mempolicy(2)
	maxNodes          = 1024   // MAX_NUMNODES of any kernel
	policyAnswer      = 8 + maxNodes/8
	specPrctl         = 1 << 0 // PR_SPEC_PRCTL: it can be set for each thread
	specDisable       = 1 << 2
	specForceDisable  = 1 << 3
	specDisableNoExec = 1 << 4
)

// speculations are the kinds of PR_GET_SPECULATION_CTRL.
var speculations = []int32{unix.PR_SPEC_STORE_BYPASS, unix.PR_SPEC_INDIRECT_BRANCH, unix.PR_SPEC_L1D_FLUSH}

// askProcessAttributes asks for what the whole process has.
func (d *dump) askProcessAttributes(q *inquiry, p *process) {
	a := &specs.ProcessAttributes{}
	keep := func() { p.record.Attributes = nonZero(a) }
	q.ask(0, func(ret int64, _ []byte) {
		switch {
		case ret > 0:
			a.Membarrier = uint32(ret)
		case ret == -int64(unix.EINVAL):
			a.Membarrier = membarrierAny
		}
		keep()
	}, unix.SYS_MEMBARRIER, membarrierRegistrations, 0, 0)
	q.ask(0, func(ret int64, _ []byte) { a.MemoryMerge = ret == 1; keep() }, unix.SYS_PRCTL, prGetMemoryMerge, 0, 0, 0, 0)
	q.ask(0, func(ret int64, _ []byte) {
		p.record.THPDisable = ret > 0
		a.THPAdvised = ret > 0 && ret&thpExceptAdvised != 0
		keep()
	}, unix.SYS_PRCTL, unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	a.Autogroup = autogroup(p)
}

// autogroup reads the nice value of "/autogroup-N nice V"; a kernel without
// autogroups has no such file, and the outermost group no text.
func autogroup(p *process) int32 {
	text, err := procfs.ReadFile(p.pid, "autogroup")
	if err != nil {
		return 0
	}
	_, value, _ := strings.Cut(string(text), " nice ")
	var nice int32
	if _, err := fmt.Sscan(value, &nice); err != nil {
		return 0
	}
	return nice
}

// askThreadAttributes asks for what a thread has.
func (d *dump) askThreadAttributes(q *inquiry, r *specs.Thread) {
	a := &specs.ThreadAttributes{}
	keep := func() { r.Attributes = nonZero(a) }
	q.ask(0, func(ret int64, _ []byte) {
		if ret >= 0 && ret != mceKillDefault {
			a.MCEKill = int32(ret) + 1
		}
		keep()
	}, unix.SYS_PRCTL, unix.PR_MCE_KILL_GET, 0, 0, 0, 0)
	for _, which := range speculations {
		q.ask(0, func(ret int64, _ []byte) {
			if ret > 0 && ret&specPrctl != 0 && ret&(specDisable|specForceDisable|specDisableNoExec) != 0 {
				a.Speculation = append(a.Speculation, specs.Speculation{Which: which, Control: uint32(ret) &^ specPrctl})
			}
			keep()
		}, unix.SYS_PRCTL, unix.PR_GET_SPECULATION_CTRL, uint64(which), 0, 0, 0)
	}
	askPolicy(q, 0, 0, func(p *specs.MemoryPolicy) { a.Policy = p; keep() })
}

// nonZero gives nil for a value that says nothing.
func nonZero[P interface{ Zero() bool }](v P) (none P) {
	if v.Zero() {
		return none
	}
	return v
}

// askPolicy asks for the policy of the thread, or that of the area at addr; none is
// taken if it is the default.
func askPolicy(q *inquiry, addr, flags uint64, take func(*specs.MemoryPolicy)) {
	q.ask(policyAnswer, func(ret int64, b []byte) {
		if mode := word32(b); ret == 0 && mode != 0 {
			take(&specs.MemoryPolicy{Mode: mode, Nodes: bytes.TrimRight(bytes.Clone(b[8:]), "\x00")})
		}
	}, unix.SYS_GET_MEMPOLICY, out, out8, maxNodes, addr, flags)
}

// askPolicies asks for the policies of areas: first for which there are any.
func (d *dump) askPolicies(q *inquiry, p *process) error {
	var odd []uint64
	for i := range p.areas {
		v := &p.areas[i]
		if kind := special[v.Path]; kind == "vdso" || kind == "vvar" || kind == "vsyscall" {
			continue
		}
		q.ask(8, func(ret int64, b []byte) {
			if ret == 0 && word32(b) != 0 {
				odd = append(odd, v.Start)
			}
		}, unix.SYS_GET_MEMPOLICY, out, 0, 0, v.Start, mpolFAddr)
	}
	if err := q.run(); err != nil {
		return err
	}
	for _, addr := range odd {
		askPolicy(q, addr, mpolFAddr, func(m *specs.MemoryPolicy) {
			if p.policies == nil {
				p.policies = map[uint64]*specs.MemoryPolicy{}
			}
			p.policies[addr] = m
		})
	}
	return q.run()
}
