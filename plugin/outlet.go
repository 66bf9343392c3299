package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/private"
	"github.com/rethaw/rethaw/internal/sealed"
)

// outlet is where an export goes.
type outlet interface {
	// begin gives the writer that takes the archive.
	begin(ctx context.Context) (io.Writer, error)
	// end completes what was written: on stable storage, and under its name.
	end(ctx context.Context) error
	// abort removes what did not become complete. Afterwards it does nothing.
	abort()
}

// outlets get the same image.
type outlets []outlet

func (l outlets) begin(ctx context.Context) (io.Writer, error) {
	var all []io.Writer
	for _, out := range l {
		w, err := out.begin(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return io.MultiWriter(all...), nil
}

func (l outlets) end(ctx context.Context) error {
	for _, out := range l {
		if err := out.end(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l outlets) abort() {
	for _, out := range l {
		out.abort()
	}
}

// sealedOutlet is an encrypted image.
type sealedOutlet struct{ *image.SealedWriter }

func (o sealedOutlet) begin(context.Context) (io.Writer, error) { return o, nil }
func (o sealedOutlet) end(ctx context.Context) error            { return o.Commit(ctx) }
func (o sealedOutlet) abort()                                   { _ = o.Abort() }

// fileOutlet is a file or a stream.
type fileOutlet struct {
	file *os.File
	// path is the name that file gets when it is complete, "" for a stream.
	path  string
	codec image.Codec
	to    []sealed.Recipient
	// flow is what is written to a stream, plain takes the archive before it is
	// compressed and encrypted.
	flow  *flow
	plain *image.Compressor
}

// open prepares the outlet. Nothing is at e.File yet, or what was.
func (e Export) open() (*fileOutlet, error) {
	if e.File == Standard {
		if isTerminal(e.Stdout) {
			return nil, fmtTerminal("--export - writes the image to stdout, which is a terminal: redirect it")
		}
		// A write to a broken pipe is an error on any descriptor but 1 and 2, where the
		// Go runtime ends the process.
		fd, err := unix.FcntlInt(e.Stdout.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
		}
		return &fileOutlet{file: os.NewFile(uintptr(fd), e.Stdout.Name()), codec: e.Codec, to: e.To}, nil
	}
	info, err := os.Lstat(e.File)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is %w, no regular file (%s): name another one, or - for stdout", e.File, ErrPlace, info.Mode())
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	file, err := private.CreateTemp(filepath.Dir(e.File), "."+filepath.Base(e.File)+"-*")
	if err != nil {
		return nil, err
	}
	return &fileOutlet{file: file, path: e.File, codec: e.Codec, to: e.To}, nil
}

// begin implements outlet.
func (o *fileOutlet) begin(ctx context.Context) (io.Writer, error) {
	var to io.Writer = o.file
	if o.path == "" {
		o.flow = pour(ctx, o.file)
		to = o.flow
	}
	var err error
	if o.plain, err = image.Compress(to, o.codec, o.to); err != nil {
		return nil, err
	}
	return o.plain, nil
}

// end implements outlet.
func (o *fileOutlet) end(ctx context.Context) error {
	plain := o.plain
	o.plain = nil
	if err := plain.Close(); err != nil {
		return err
	}
	if o.path != "" {
		return o.publish()
	}
	if err := o.flow.end(ctx, nil); err != nil {
		return err
	}
	// A pipe has nothing to sync.
	if err := o.file.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EROFS) {
		return err
	}
	return nil
}

// publish gives a complete file its name.
func (o *fileOutlet) publish() error {
	if err := o.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(o.file.Name(), o.path); err != nil {
		return err
	}
	err := o.file.Close()
	o.file = nil
	dir, opening := os.Open(filepath.Dir(o.path))
	if opening != nil {
		return errors.Join(err, opening)
	}
	defer dir.Close()
	return errors.Join(err, dir.Sync())
}

// abort implements outlet.
func (o *fileOutlet) abort() {
	if o.file == nil {
		return
	}
	if o.flow != nil {
		_ = o.flow.end(context.Background(), errAborted)
	}
	if o.plain != nil {
		// It has goroutines. What it writes yet is not missed.
		o.plain.Abort()
	}
	if o.path != "" {
		os.Remove(o.file.Name())
	}
	o.file.Close()
	o.file = nil
}
