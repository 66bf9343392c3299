package sleeping

import (
	"fmt"
	"testing"
)

// attempts is how often a measurement may be disturbed.
const attempts = 6

// attempt is a measurement that may fail because the machine was busy with something
// else between two of its instructions.
type attempt struct {
	testing.TB
	failures []string
}

// spoilt ends an attempt.
type spoilt struct{}

func (a *attempt) Errorf(format string, args ...any) {
	a.failures = append(a.failures, fmt.Sprintf(format, args...))
}

func (a *attempt) Error(args ...any) { a.failures = append(a.failures, fmt.Sprint(args...)) }

func (a *attempt) Fatal(args ...any) {
	a.Error(args...)
	panic(spoilt{})
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.Errorf(format, args...)
	panic(spoilt{})
}

func (a *attempt) run(measure func(testing.TB)) {
	defer func() {
		if p := recover(); p != nil && p != any(spoilt{}) {
			panic(p)
		}
	}()
	measure(a)
}

// undisturbed runs a subtest that measures time until it succeeds once: what is wrong with the
// code is wrong each time.
func undisturbed(t *testing.T, name string, measure func(testing.TB)) {
	t.Run(name, func(t *testing.T) {
		var a *attempt
		for range attempts {
			a = &attempt{TB: t}
			if a.run(measure); len(a.failures) == 0 {
				return
			}
		}
		for _, failure := range a.failures {
			t.Error(failure)
		}
	})
}
