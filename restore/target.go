package restore

import (
	"context"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/sirupsen/logrus"
)

// Container is a fresh container that a runtime has created and not yet started.
type Container struct {
	// Init is the host pid of the runtime's init, which waits to execute the
	// container's process.
	Init int
	// Start lets it do so ("runc start"); it is called once, when Init is under
	// control.
	Start func(ctx context.Context) error
	// Patience is how long the runtime may take from Start to the container's
	// process, 0 for as long as Init lives.
	Patience time.Duration
	// End is called before the tasks of a restore that has failed are killed, so that
	// the engine takes their end for wished. It must not wait for that end. nil if
	// there is no need.
	End func() error
	// Rootfs and Bundle are directories on the host.
	Rootfs, Bundle string
	// Terminal tells whether the container's process has a console.
	Terminal bool
}

// Options say how a restore is done.
type Options struct {
	// Image is the directory of the image.
	Image string
	// From, if not nil, is the image, which may come as a stream (Streams must find
	// that it can). It stays the caller's to close.
	From *image.Reader
	// TCPEstablished restores TCP connections that lead out of the tree, TCPClose
	// restores them as closed; without either an image that has some is refused.
	TCPEstablished, TCPClose bool
	// Log takes what is of interest; nil for silence.
	Log *logrus.Entry
}

// Result tells what was restored.
type Result struct {
	// Root is the host pid of the restored root task.
	Root int `json:"root"`
	// Tasks and Threads count what was made.
	Tasks   int `json:"tasks"`
	Threads int `json:"threads"`
	// Stats are times in microseconds by the name of the step.
	Stats map[string]int64 `json:"stats"`
}
