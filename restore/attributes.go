package restore

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

const (
	prSetMemoryMerge = 67     // PR_SET_MEMORY_MERGE (since Linux 6.4)
	thpExceptAdvised = 1 << 1 // PR_THP_DISABLE_EXCEPT_ADVISED (since Linux 6.18)
	mceKillSet       = 1      // PR_MCE_KILL_SET
)

// settleSpace gives an address space what its children would inherit, and not lose
// again: it comes when all are forked. The process has one thread then; with more of
// them each registration waits for all processors.
func (r *restorer) settleSpace(t *task) error {
	if t.mm == nil || t.helper() || t.parent != nil && t.rec.Memory == t.parent.rec.Memory {
		return nil
	}
	var b batch
	for bit := 0; t.rec.Attributes != nil && bit < 32; bit++ {
		if t.rec.Attributes.Membarrier&(1<<bit) != 0 {
			b.add("register for membarrier", unix.SYS_MEMBARRIER, 1<<bit, 0, 0)
		}
	}
	for _, a := range t.mm.Areas {
		if slices.Contains(a.Flags, "sl") && !kernelArea(a.Kind) {
			b.add(fmt.Sprintf("seal %x-%x", a.Start, a.End), unix.SYS_MSEAL, a.Start, a.End-a.Start, 0)
		}
	}
	return b.run(t, t.threads[0])
}

// policies gives areas their NUMA policies, before any page is there.
func (b *builder) policies() error {
	data, at := b.t.arena.Data()
	used := 0
	for i, a := range b.t.mm.Areas {
		if a.Policy == nil || kernelArea(a.Kind) || b.inherited[i] != nil {
			continue
		}
		if used+policySize > len(data) {
			if err := b.flush(); err != nil {
				return err
			}
			used = 0
		}
		putNodes(data[used:], a.Policy)
		b.add(fmt.Sprintf("set the memory policy of %x-%x", a.Start, a.End), unix.SYS_MBIND,
			a.Start, a.End-a.Start, uint64(a.Policy.Mode), at+uint64(used), policySize*8, 0)
		used += policySize
	}
	return b.flush()
}

// policySize is the size of a mask of nodes in bytes: MAX_NUMNODES of any kernel.
const policySize = 1024 / 8

func putNodes(b []byte, p *specs.MemoryPolicy) {
	clear(b[:policySize])
	copy(b[:policySize], p.Nodes)
}

// processAttributes adds what belongs to the whole process.
func (b *batch) processAttributes(r *specs.Task) {
	if r.THPDisable {
		flags := uint64(0)
		if r.Attributes != nil && r.Attributes.THPAdvised {
			flags = thpExceptAdvised
		}
		b.add("disable huge pages", unix.SYS_PRCTL, unix.PR_SET_THP_DISABLE, 1, flags, 0, 0)
	}
	if r.Attributes != nil && r.Attributes.MemoryMerge {
		b.add("have memory merged", unix.SYS_PRCTL, prSetMemoryMerge, 1, 0, 0, 0)
	}
}

// autogroup gives the task's session its nice value, unless it has it already.
func (r *restorer) autogroup(t *task) error {
	if t.rec.Attributes == nil || t.rec.Attributes.Autogroup == 0 {
		return nil
	}
	name, want := t.procPath("autogroup"), strconv.Itoa(int(t.rec.Attributes.Autogroup))
	text, err := os.ReadFile(name)
	if err == nil && strings.HasSuffix(strings.TrimSpace(string(text)), " nice "+want) {
		return nil
	}
	return os.WriteFile(name, []byte(want), 0)
}

// threadAttributes adds what belongs to a thread. data and at are room for one mask
// of nodes.
func (b *batch) threadAttributes(a *specs.ThreadAttributes, data []byte, at uint64) {
	if a == nil {
		return
	}
	if a.MCEKill != 0 {
		b.add("set the policy of memory errors", unix.SYS_PRCTL, unix.PR_MCE_KILL, mceKillSet, uint64(a.MCEKill-1), 0, 0)
	}
	for _, s := range a.Speculation {
		b.add("control speculation", unix.SYS_PRCTL, unix.PR_SET_SPECULATION_CTRL, uint64(s.Which), uint64(s.Control), 0, 0)
	}
	if a.Policy != nil {
		putNodes(data, a.Policy)
		b.add("set memory policy", unix.SYS_SET_MEMPOLICY, uint64(a.Policy.Mode), at, policySize*8)
	}
}
