package plugin

import (
	"context"
	"io"
	"os"
)

// pour runs write with a writer whose bytes go to f. When ctx ends it gives up on an f
// that does not take them, so that a reader who is asleep cannot keep a container
// stopped: the system call that hangs is left behind, with a buffer of its own.
func pour(ctx context.Context, f *os.File, write func(io.Writer) error) error {
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { r.CloseWithError(context.Cause(ctx)) })
	defer stop()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(f, r)
		r.CloseWithError(err)
		copied <- err
	}()
	err := write(w)
	w.CloseWithError(err)
	if err != nil {
		return err
	}
	select {
	case err := <-copied:
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
		_, err := io.Copy(w, f)
		w.CloseWithError(err)
	}()
	return r, func() {
		done()
		r.Close()
	}
}
