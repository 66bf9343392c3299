package restore_test

import (
	"context"
	"fmt"
	"log"
	"os/exec"

	"github.com/rethaw/rethaw/restore"
)

// An image is restored into a container that a runtime has created: its init
// waits, and is let go by the runtime's start.
func ExampleRun() {
	init := 4711 // what `runc create --pid-file` wrote
	result, err := restore.Run(context.Background(), restore.Container{
		Init: init,
		Start: func(ctx context.Context) error {
			return exec.CommandContext(ctx, "runc", "start", "web").Run()
		},
		Bundle: "/srv/web",
	}, restore.Options{Image: "/srv/web/checkpoint"})
	if err != nil {
		log.Fatal(err) // nothing of the tree is left
	}
	fmt.Printf("%d tasks with %d threads go on\n", result.Tasks, result.Threads)
}

// A tree of the host comes back with its own pids.
func ExampleTree() {
	result, err := restore.Tree(context.Background(), restore.Options{Image: "/var/tmp/job.image"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("root task:", result.Root)
}
