package kernel

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestAll runs every probe on the kernel at hand: none may hang or hurt, and each must
// be described.
func TestAll(t *testing.T) {
	begin := time.Now()
	p := NewProber()
	for _, r := range p.All(context.Background()) {
		if r.Name == "" || r.Since == "" || r.Use == "" || r.Without == "" {
			t.Errorf("%q is not described: %+v", r.Name, r.Feature)
		}
		if r.Answer != Yes && r.Err == nil {
			t.Errorf("%s is %v without a reason", r.Name, r.Answer)
		}
		t.Logf("%-32s %-8v since %-7s %v", r.Name, r.Answer, r.Since, r.Err)
	}
	t.Logf("took %v", time.Since(begin))
	if err := unix.Kill(os.Getpid(), 0); err != nil {
		t.Error(err)
	}
}

func TestNamesAreUnique(t *testing.T) {
	seen := make(map[string]bool)
	for _, name := range Names() {
		if seen[name] {
			t.Errorf("%q stands twice", name)
		}
		seen[name] = true
	}
}

// TestMemory checks that conclusive answers are remembered and others are not.
func TestMemory(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		answer Answer
		calls  int
	}{
		{"yes", nil, Yes, 1},
		{"no", missing(unix.ENOSYS), No, 1},
		{"no by a sentence", absent("not there"), No, 1},
		{"unknown", unix.EPERM, Unknown, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			one := probe{Feature{Name: tt.name}, func() error { calls++; return tt.err }}
			p := NewProber()
			first, second := p.ask(context.Background(), one), p.ask(context.Background(), one)
			if first.Answer != tt.answer || second.Answer != tt.answer || calls != tt.calls {
				t.Errorf("answers %v and %v after %d tries, want %v after %d",
					first.Answer, second.Answer, calls, tt.answer, tt.calls)
			}
			if tt.err != nil && !errors.Is(first.Err, tt.err) {
				t.Errorf("error %v, want %v", first.Err, tt.err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r, err := NewProber().Probe(ctx, "kcmp")
	if err != nil || r.Answer != Unknown || !errors.Is(r.Err, context.Canceled) {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestNeed(t *testing.T) {
	p := NewProber()
	if err := p.Need(context.Background(), "no such thing"); err == nil {
		t.Error("an unknown name is no error")
	}
	p.known["kcmp"] = Result{Feature: Feature{Name: "kcmp", Since: "3.5"}, Answer: No, Err: unix.ENOSYS}
	var unsupported *UnsupportedError
	if err := p.Need(context.Background(), "kcmp"); !errors.As(err, &unsupported) || !errors.Is(err, unix.ENOSYS) {
		t.Errorf("got %v", err)
	}
}
