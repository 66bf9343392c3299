package checkpoint

import (
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/sleeping"
	"github.com/rethaw/rethaw/specs"
)

// To ask a thread costs some 300 us, most of which goes into waiting for a processor: on
// a busy machine it is many times that, and a process may have thousands of threads. What they would
// answer stands in the kernel's memory. So only a few of them are asked: the leader, and one
// for each state of the flags, which are the one thing whose meaning is not
// known (PR_SET_TSC and others), and those with a memory policy. Their answers show whether the memory was read aright; if one
// does not agree, or without that memory, all are asked.

// manyThreads is from how many threads on reading the kernel's memory is worth it.
const manyThreads = 48

// testimony is what the kernel's memory tells of the threads of one process.
type testimony struct {
	facts map[int]kmem.Thread
	// asked are those that were asked, by their flags.
	asked map[[3]uint64]*specs.Thread
}

// testimony reads the kernel's memory, if it is open and the process has many threads.
// What is missing in it makes the threads be asked.
func (d *dump) testimony(p *process) *testimony {
	k := &testimony{facts: map[int]kmem.Thread{}, asked: map[[3]uint64]*specs.Thread{}}
	if d.kernel == nil || len(p.threads) < manyThreads {
		return k
	}
	var threads []kmem.Thread
	reader, err := d.kernel.get()
	if err == nil {
		threads, err = reader.States(p.pid)
	}
	if err != nil {
		d.log.WithError(err).Debug("the kernel's memory does not tell of threads")
		return k
	}
	for _, t := range threads {
		k.facts[t.TID] = t
	}
	return k
}

// answer fills in the record of a thread in its place, and tells whether it could.
func (k *testimony) answer(th *thread, home *ptrace.Registers) bool {
	fact, ok := k.facts[th.tid]
	if !ok {
		return false
	}
	like := k.asked[fact.State]
	if like == nil || fact.Policy {
		return false
	}
	k.fill(th.record, &fact, home)
	th.record.TSC, th.record.Attributes = like.TSC, like.Attributes
	return true
}

// confirm compares what a thread has answered with what the memory tells of it.
func (k *testimony) confirm(th *thread, home *ptrace.Registers) {
	fact, ok := k.facts[th.tid]
	if !ok {
		return
	}
	told := *th.record
	k.fill(&told, &fact, home)
	said := th.record
	if told.AltStackBase != said.AltStackBase || told.AltStackSize != said.AltStackSize || told.AltStackFlags != said.AltStackFlags ||
		told.PDeathSig != said.PDeathSig || told.ClearTID != said.ClearTID || told.TimerSlack != said.TimerSlack ||
		told.Creds.SecureBits != said.Creds.SecureBits {
		clear(k.facts)
		return
	}
	if !fact.Policy {
		k.asked[fact.State] = said
	}
}

// Flags of sigaltstack(2). Only the last is kept by the kernel as it is.
const (
	ssOnStack    = 1
	ssDisable    = 2
	ssAutoDisarm = 1 << 31
)

// fill gives a fact the form of an answer.
func (k *testimony) fill(r *specs.Thread, fact *kmem.Thread, home *ptrace.Registers) {
	r.AltStackBase, r.AltStackSize = fact.AltStackBase, fact.AltStackSize
	flags := fact.AltStackFlags & ssAutoDisarm
	switch sp := sleeping.CallOf(home).SP; {
	case fact.AltStackSize == 0:
		flags |= ssDisable
	case flags == 0 && sp > fact.AltStackBase && sp-fact.AltStackBase <= fact.AltStackSize:
		flags |= ssOnStack
	}
	r.AltStackFlags = int32(flags)
	r.PDeathSig, r.ClearTID = int32(fact.PDeathSig), fact.ClearTID
	r.Creds.SecureBits, r.TimerSlack = fact.SecureBits, fact.TimerSlack
}

// own has a thread that was not asked stand with the registers with which it shall go
// on, which are its own but for what was put right in them.
func (th *thread) own() error {
	now, err := th.traced.Registers()
	if err != nil || now == th.home {
		return err
	}
	return th.traced.SetRegisters(&th.home)
}
