package plugin

import (
	"context"
	"io"
	"os"
)

// flow is a writer whose bytes go to a file. When its context ends it gives up on a file
// that does not take them, so that a reader who is asleep cannot keep a container
// stopped: the system call that hangs is left behind, with a buffer of its own.
type flow struct {
	*io.PipeWriter
	stop   func() bool
	copied chan error
}

// flowBuffer is how much is copied at a time, in bytes.
const flowBuffer = 256 << 10

// pour begins a flow into f.
func pour(ctx context.Context, f *os.File) *flow {
	r, w := io.Pipe()
	p := &flow{PipeWriter: w, copied: make(chan error, 1)}
	p.stop = context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	go func() {
		// Neither shall take a way of its own, with smaller buffers.
		_, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, flowBuffer))
		r.CloseWithError(err)
		p.copied <- err
	}()
	return p
}

// end waits until all bytes are taken, or gives up because of err.
func (p *flow) end(ctx context.Context, err error) error {
	defer p.stop()
	p.CloseWithError(err)
	if err != nil {
		return err
	}
	select {
	case err := <-p.copied:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// draw returns a reader of the bytes of f that fails when ctx ends, even while f has
// none. stop ends it; a read that hangs is left behind.
func draw(ctx context.Context, f *os.File) (from io.Reader, stop func()) {
	r, w := io.Pipe()
	done := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, flowBuffer))
		w.CloseWithError(err)
	}()
	return r, func() {
		done()
		r.Close()
	}
}
