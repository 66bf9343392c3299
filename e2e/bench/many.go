package main

import (
	"fmt"
	"strconv"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/e2e/rig"
	"golang.org/x/sys/unix"
)

// many is a container of very many of one thing.
type many struct {
	what, program string
	number        int
}

// crowds are measured one after the other. What they cost should grow with their number and not
// with its square.
var crowds = []many{
	{"threads", "manythreads", 500},
	{"threads", "manythreads", 1000},
	{"threads", "manythreads", 5000},
	{"descriptors", "manyfiles", 1000},
	{"descriptors", "manyfiles", 19_800},
	{"processes", "manyprocesses", 100},
}

// manyRuns is in how many rounds they are measured, at most: the largest take seconds.
const manyRuns = 5

// many measures the standstill, the checkpoint that ends the container, and the restore.
func (b *bench) many() {
	for _, m := range crowds {
		b.crowd(m)
	}
}

func (b *bench) crowd(m many) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		b.Fatalf("%v", err)
	}
	p := b.rig.RunProgram(b, m.program, rig.Config{Args: []string{strconv.Itoa(m.number)}, Edit: func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: limit.Max}}
	}})
	var frozen, checkpoint, restore []time.Duration
	for i := range min(b.runs, manyRuns) + 1 {
		_, left := p.CheckpointStats("--leave-running")
		done := p.Checkpoint()
		restored := p.Restore()
		p.Check("restored")
		if i == 0 {
			continue
		}
		frozen = append(frozen, time.Duration(left.Frozen)*time.Microsecond)
		checkpoint = append(checkpoint, done.Took)
		restore = append(restore, restored.Took)
	}
	p.Delete()
	name := fmt.Sprintf("%d %s: ", m.number, m.what)
	b.note(name+"frozen", ms(median(frozen)))
	b.note(name+"rethaw checkpoint, all of it", ms(median(checkpoint)))
	b.note(name+"rethaw restore, all of it", ms(median(restore)))
}
