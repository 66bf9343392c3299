package checkpoint

import (
	"errors"
	"sync/atomic"
	"testing"
)

func TestSideBySide(t *testing.T) {
	for _, n := range []int{0, 1, worthwhile, 5*worthwhile + 3} {
		times := make([]atomic.Int32, n)
		if err := sideBySide(n, func(i int) error { times[i].Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range times {
			if got := times[i].Load(); got != 1 {
				t.Errorf("number %d of %d was taken %d times", i, n, got)
			}
		}
		if n == 0 {
			continue
		}
		bad := errors.New("the last one")
		if err := sideBySide(n, func(i int) error {
			if i == n-1 {
				return bad
			}
			return nil
		}); err != bad {
			t.Errorf("of %d: %v", n, err)
		}
	}
}
