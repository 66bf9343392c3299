package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// execFifo is the FIFO at which the init of a container that runc has created waits: it opens it for
// writing, which the kernel lets it do when there is a reader, writes a byte, closes it and executes the container's process
// (libcontainer/standard_init_linux.go). To be that reader, and to remove the FIFO, by whose presence runc tells a created
// container from a running one, is all that `runc start` does.
type execFifo struct {
	path string
	init process
}

// execFifoName is its name in the state directory of the container.
const execFifoName = "exec.fifo"

// initLook is how often the init is looked at while it does not come to its FIFO.
const initLook = 100 * time.Millisecond

// errInitEnded tells that the init will never come.
var errInitEnded = errors.New("the container's init ended before it was started")

// pass lets the init go on.
func (f execFifo) pass(ctx context.Context) error {
	passed := make(chan error, 1)
	go func() { passed <- f.read() }()
	look := time.NewTicker(initLook)
	defer look.Stop()
	var cause error
	for cause == nil {
		select {
		case err := <-passed:
			return err
		case <-ctx.Done():
			cause = context.Cause(ctx)
		case <-look.C:
			if !f.init.alive() {
				cause = errInitEnded
			}
		}
	}
	// The reader has opened it, or waits for a writer, for which we are good enough.
	writer, err := os.OpenFile(f.path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err == nil {
		writer.Close()
	}
	select {
	case err := <-passed:
		if err == nil {
			return nil // it came after all
		}
	case <-time.After(initLook): // an init that is stopped has it open
	}
	return cause
}

// read waits for the init, reads what it writes, and removes the FIFO.
func (f execFifo) read() error {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return fmt.Errorf("%s: nothing was written: the container has been started before", f.path)
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
