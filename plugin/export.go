package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/image"
)

// Standard is the file name that means our own stdin or stdout.
const Standard = "-"

// ErrPlace: there is something at the place of an export that it must not replace.
var ErrPlace = errors.New("in use for something else")

// errAborted ends a stream that nobody will complete.
var errAborted = errors.New("export aborted")

// Export says where an image goes as one stream (image.WriteTo).
type Export struct {
	// File is replaced in one step once the stream is complete; Standard for Stdout.
	File string
	// Stdout takes the stream if File is Standard.
	Stdout *os.File
	// Codec compresses the stream.
	Codec image.Codec
	// Keep leaves the image in the place that it has without an export too.
	Keep bool
	// IgnoreRootfs leaves out the changes of the root filesystem, IgnoreVolumes the
	// contents of volumes.
	IgnoreRootfs, IgnoreVolumes bool
	// Base is what a root filesystem that is no overlay was a copy of, "" if
	// that is not known.
	Base string
}

// CheckpointTo is Checkpoint with an export. The tasks stand still until the stream is
// complete and, in a file, on stable storage; whatever fails before, they go on. The
// image that the stream is made of is a temporary one, unless o.Image or e.Keep asks
// for it.
func CheckpointTo(ctx context.Context, c Container, o checkpoint.Options, e Export) (*checkpoint.Stats, error) {
	if o.Log == nil {
		o.Log = silent()
	}
	// Before anything is stopped: what is wrong with the file is known then.
	out, err := e.open()
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	defer out.abort()
	front, err := e.prepare(ctx, c, func(said string) { o.Log.Warn(said) })
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	if o.Image == "" && e.Keep {
		if o.Image, err = ImageOf(ctx, c, ""); err != nil {
			return nil, err
		}
	}
	place := o.Image
	if o.Image == "" {
		dir, err := workDir("export")
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				o.Log.WithError(err).Warnf("the temporary image %s remains", dir)
			}
		}()
		o.Image, place = filepath.Join(dir, "image"), e.File
	}
	if err := out.begin(ctx, e.Codec); err != nil {
		return nil, exported(err)
	}
	if front != nil {
		// Changes are read while no task can make more, also with o.LeaveRunning.
		o.Frozen = func(ctx context.Context) error { return exported(front.write(ctx, out.plain)) }
	}
	o.Committed = func(ctx context.Context) error {
		err := out.take(ctx, o.Image)
		if err == nil {
			err = out.end(ctx)
		}
		return exported(err)
	}
	return checkpointAs(ctx, c, o, place)
}

// exported names what has failed.
func exported(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("export: %w", err)
}

// outlet is where an export goes.
type outlet struct {
	file *os.File
	// path is the name that file gets when it is complete, "" for a stream.
	path string
	// flow is what is written to a stream, plain takes the archive before it is
	// compressed.
	flow  *flow
	plain io.WriteCloser
}

// open prepares the outlet. Nothing is at e.File yet, or what was.
func (e Export) open() (*outlet, error) {
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
		return &outlet{file: os.NewFile(uintptr(fd), e.Stdout.Name())}, nil
	}
	info, err := os.Lstat(e.File)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is %w, no regular file (%s): name another one, or - for stdout", e.File, ErrPlace, info.Mode())
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(e.File), "."+filepath.Base(e.File)+"-*")
	if err != nil {
		return nil, err
	}
	return &outlet{file: file, path: e.File}, nil
}

// begin begins the archive.
func (o *outlet) begin(ctx context.Context, codec image.Codec) (err error) {
	var to io.Writer = o.file
	if o.path == "" {
		o.flow = pour(ctx, o.file)
		to = o.flow
	}
	o.plain, err = image.Compress(to, codec)
	return err
}

// take writes the image in dir.
func (o *outlet) take(ctx context.Context, dir string) error {
	img, err := image.Open(dir)
	if err != nil {
		return err
	}
	defer img.Close()
	return image.WriteTo(ctx, img, o.plain, image.None)
}

// end completes what was written: a file is on stable storage and has its name then.
func (o *outlet) end(ctx context.Context) error {
	err := o.plain.Close()
	o.plain = nil
	if err != nil {
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
func (o *outlet) publish() error {
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

// abort removes what did not become complete. After publish it does nothing.
func (o *outlet) abort() {
	if o.file == nil {
		return
	}
	if o.flow != nil {
		_ = o.flow.end(context.Background(), errAborted)
	}
	if o.plain != nil {
		// It has goroutines. What it writes yet is not missed.
		o.plain.Close()
	}
	if o.path != "" {
		os.Remove(o.file.Name())
	}
	o.file.Close()
}
