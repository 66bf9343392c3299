package checkpoint_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/rethaw/rethaw/checkpoint"
)

// A process tree of the host is saved and left running.
func ExampleRun() {
	target := checkpoint.Target{Engine: "pid", Init: 4711, Host: true}
	stats, err := checkpoint.Run(context.Background(), target, checkpoint.Options{
		Image:        "/var/tmp/job.image",
		LeaveRunning: true,
	}, nil)
	var refused *checkpoint.RefusedError
	switch {
	case errors.As(err, &refused):
		for _, problem := range refused.Problems {
			log.Print(problem) // task, object, reason and remedy
		}
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Printf("%d tasks stood still for %d us\n", stats.Tasks, stats.Frozen)
	}
}

// What could not be saved is found while the tasks run.
func ExampleCheck() {
	target := checkpoint.Target{Engine: "pid", Init: 4711, Host: true}
	problems, err := checkpoint.Check(context.Background(), target, checkpoint.Options{})
	if err != nil {
		log.Fatal(err)
	}
	for _, problem := range problems {
		fmt.Println(problem)
	}
}
