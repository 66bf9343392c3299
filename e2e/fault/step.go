//go:build amd64

package fault

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Step is a place in a program from which a system call is made.
type Step struct {
	// Key tells the step from all others, in each run of the same binary.
	Key uint64
	// Call is the system call, Op its operation where it has several, else 0.
	Call, Op uint64
	// Stack are the addresses, innermost first.
	Stack []uint64
	// Count is how often the step was taken in the run that recorded it, First its
	// place among the steps of that run.
	Count, First int
	// Own tells that the program made the call, and not Go's runtime.
	Own bool
	// Where names the functions of the program that lead to the call, innermost first.
	Where []string
}

func (s *Step) String() string {
	where := s.Where
	if len(where) > 4 {
		where = where[:4]
	}
	return fmt.Sprintf("%s in %s", callName(s.Call, s.Op), strings.Join(where, " < "))
}

// operations are the calls that are many, and the argument that tells which.
var operations = map[uint64]int{
	sysPtrace: 0, sysFutex: 1, sysIoctl: 1, sysFcntl: 1, sysPrctl: 0, sysSetsockopt: 2, sysGetsockopt: 2, sysBPF: 0,
}

// recorder gathers the steps of a run.
type recorder struct {
	steps map[uint64]*Step
}

func newRecorder() *recorder { return &recorder{steps: map[uint64]*Step{}} }

func (r *recorder) add(key, call, op uint64, stack []uint64) {
	s := r.steps[key]
	if s == nil {
		s = &Step{Key: key, Call: call, Op: op, Stack: slices.Clone(stack), First: len(r.steps)}
		r.steps[key] = s
	}
	s.Count++
}

// list gives the steps in the order in which they were first taken.
func (r *recorder) list(symbols *symbols) []*Step {
	all := slices.SortedFunc(maps.Values(r.steps), func(a, b *Step) int { return cmp.Compare(a.First, b.First) })
	for _, s := range all {
		s.Own, s.Where = symbols.explain(s.Stack)
	}
	return all
}
