package image_test

import (
	"fmt"
	"log"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// An image tells what is in it without being restored.
func ExampleOpen() {
	img, err := image.Open("/srv/web/checkpoint")
	if err != nil {
		log.Fatal(err)
	}
	defer img.Close()
	fmt.Println("made by rethaw", img.Header().Tool, "under Linux", img.Header().Release)
	for _, task := range image.Each[*specs.Task](img) {
		fmt.Println(task.PID, task.Comm, task.State)
	}
}
