package checkpoint

import (
	"runtime"

	"golang.org/x/sync/errgroup"
)

// sideBySide calls f with the numbers below n on all processors. What a few take is not worth a second one.
func sideBySide(n int, f func(i int) error) error {
	workers := min(runtime.GOMAXPROCS(0), n/worthwhile)
	if workers < 2 {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	var group errgroup.Group
	for w := range workers {
		group.Go(func() error {
			for i := w; i < n; i += workers {
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// worthwhile is how many calls occupy a processor for so long that to wake it up does not matter.
const worthwhile = 8
