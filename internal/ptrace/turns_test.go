package ptrace

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// onTracer runs f on a tracer's thread.
func onTracer(t *testing.T, f func() error) error {
	t.Helper()
	tracer := NewTracer()
	defer tracer.Close()
	return tracer.Do(f)
}

func TestTurns(t *testing.T) {
	var order []string
	tids := map[int]bool{}
	most, now := 0, 0
	job := func(name string, waits int) func(Idle) error {
		return func(idle Idle) error {
			now++
			most = max(most, now)
			th := &Thread{}
			th.TakeTurns(idle)
			for i := range waits {
				order = append(order, fmt.Sprint(name, i))
				tids[unix.Gettid()] = true
				th.Pause(i)
			}
			now--
			return nil
		}
	}
	var own int
	err := onTracer(t, func() error {
		own = unix.Gettid()
		return Turns(2, []func(Idle) error{job("a", 3), job("b", 1), job("c", 2)})
	})
	if err != nil {
		t.Fatal(err)
	}
	// Begun, and then in turn: b makes room for c.
	want := []string{"a0", "b0", "a1", "a2", "c0", "c1"}
	slices.Sort(want)
	got := slices.Clone(order)
	slices.Sort(got)
	if !slices.Equal(got, want) || slices.Index(order, "b0") > slices.Index(order, "a1") {
		t.Errorf("order %v", order)
	}
	if most != 2 {
		t.Errorf("%d at a time, not 2", most)
	}
	if len(tids) != 1 || !tids[own] {
		t.Errorf("on threads %v, not on %d", tids, own)
	}
}

func TestTurnsAfterAnError(t *testing.T) {
	broken := errors.New("broken")
	ended, begun := false, false
	err := onTracer(t, func() error {
		return Turns(2, []func(Idle) error{
			func(idle Idle) error { idle(0); return broken },
			func(idle Idle) error {
				for i := range 5 {
					idle(i)
				}
				ended = true
				return nil
			},
			func(Idle) error { begun = true; return nil },
		})
	})
	if !errors.Is(err, broken) || !ended || begun {
		t.Errorf("%v; the other one ended: %v; another begun: %v", err, ended, begun)
	}
}

// TestTurnsWait has a job wait for another goroutine, as jobs do that ask in a namespace.
func TestTurnsWait(t *testing.T) {
	answers := make(chan int)
	go func() { answers <- 1 }()
	sum := 0
	err := onTracer(t, func() error {
		return Turns(4, []func(Idle) error{
			func(idle Idle) error { idle(0); sum += <-answers; idle(0); return nil },
			func(idle Idle) error { idle(0); sum += 10; return nil },
		})
	})
	if err != nil || sum != 11 {
		t.Errorf("%d, %v", sum, err)
	}
}
