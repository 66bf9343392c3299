package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestStrangers: `runc exec` runs short commands in the container all the while, as health checks do. They take numbers
// that a restore wants; it makes do, and they run in the restored container.
func TestStrangers(t *testing.T) {
	t.Parallel()
	for name, program := range map[string][]string{"processes": {"manyprocesses", "60"}, "threads": {"manythreads", "150"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, program[0], rig.Config{Args: program[1:]})
			end := make(chan struct{})
			var loops sync.WaitGroup
			ran := 0
			loops.Go(func() {
				for {
					select {
					case <-end:
						return
					default:
					}
					if p.Exec("/bin/true").Code == 0 {
						ran++
					}
					time.Sleep(5 * time.Millisecond)
				}
			})
			var stop sync.Once
			t.Cleanup(func() { stop.Do(func() { close(end) }); loops.Wait() })
			for range rounds {
				// One that is about to be let in, or to end, is a reason to try again.
				rig.Eventually(t, 30*time.Second, "a checkpoint between two commands", func() bool {
					return p.TryRethaw("checkpoint", "--image", p.Image, p.ID).Code == 0
				})
				p.Restore()
				p.Check("restored")
			}
			stop.Do(func() { close(end) })
			loops.Wait()
			if ran == 0 {
				t.Error("no command ran in the container: nothing was tested")
			}
			p.Check("left alone")
		})
	}
}
