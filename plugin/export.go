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
	"github.com/rethaw/rethaw/internal/private"
	"github.com/rethaw/rethaw/internal/sealed"
)

// Standard is the file name that means our own stdin or stdout.
const Standard = "-"

// ErrPlace: there is something at the place of an export that it must not replace.
var ErrPlace = errors.New("in use for something else")

// Export says where an image goes as one stream (image.WriteTo), or encrypted.
type Export struct {
	// File is replaced in one step once the stream is complete; Standard for Stdout,
	// "" for none.
	File string
	// Stdout takes the stream if File is Standard.
	Stdout *os.File
	// Codec compresses the stream.
	Codec image.Codec
	// Keep leaves the image in the place that it has without an export too.
	Keep bool
	// To are the recipients to whom all that lasts is encrypted, the stream and the image
	// in its place; none for plain text.
	To []sealed.Recipient
}

// None tells that the image goes nowhere but to its place, as it is.
func (e Export) None() bool { return e.File == "" && len(e.To) == 0 }

// CheckpointTo is Checkpoint with an export. The tasks stand still until the stream is
// complete and, in a file, on stable storage; whatever fails before, they go on. The
// image that the stream is made of is a temporary one, unless o.Image or e.Keep asks
// for it in plain text.
func CheckpointTo(ctx context.Context, c Container, o checkpoint.Options, e Export) (*checkpoint.Stats, error) {
	if len(e.To) > 0 && !o.LeaveRunning && (o.Image != "" || e.Keep || e.File == "") {
		// What is looked at later is the temporary image.
		place, err := ImageOf(ctx, c, o.Image)
		if err != nil {
			return nil, err
		}
		if err := endable(c, place); err != nil {
			return nil, err
		}
	}
	return exported(ctx, c, o, e, checkpointAs)
}

// exported has take take a checkpoint, and exports it. The last argument of take is where
// the user finds the image.
func exported(ctx context.Context, c Container, o checkpoint.Options, e Export,
	take func(context.Context, Container, checkpoint.Options, string) (*checkpoint.Stats, error)) (*checkpoint.Stats, error) {
	if o.Log == nil {
		o.Log = silent()
	}
	// Before anything is stopped: what is wrong with a place is known then.
	var outs []outlet
	defer func() {
		for _, out := range outs {
			out.abort()
		}
	}()
	if e.File != "" {
		out, err := e.open()
		if err != nil {
			return nil, fmt.Errorf("export: %w", err)
		}
		outs = append(outs, out)
	}
	var err error
	if o.Image == "" && (e.Keep || e.File == "") {
		if o.Image, err = ImageOf(ctx, c, ""); err != nil {
			return nil, err
		}
	}
	place := o.Image
	if o.Image != "" && len(e.To) > 0 {
		w, err := image.CreateSealed(o.Image, e.To)
		if err != nil {
			return nil, err
		}
		outs = append(outs, sealedOutlet{w})
		o.Image = ""
	}
	if o.Image == "" {
		work, err := newWork("export")
		if err != nil {
			return nil, err
		}
		defer work.remove(o.Log)
		o.Image = work.image()
		if place == "" {
			place = e.File
		}
	}
	o.Committed = func(ctx context.Context) error {
		img, err := image.Open(o.Image)
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		defer img.Close()
		for _, out := range outs {
			if err := out.take(ctx, img); err != nil {
				return fmt.Errorf("export: %w", err)
			}
		}
		return nil
	}
	return take(ctx, c, o, place)
}

// outlet is where an export goes.
type outlet interface {
	// take writes the image.
	take(ctx context.Context, img *image.Reader) error
	// abort removes what did not become complete. Afterwards it does nothing.
	abort()
}

// sealedOutlet is an encrypted image.
type sealedOutlet struct{ *image.SealedWriter }

func (o sealedOutlet) take(ctx context.Context, img *image.Reader) error { return o.Commit(ctx, img) }
func (o sealedOutlet) abort()                                            { _ = o.Abort() }

// fileOutlet is a file or a stream.
type fileOutlet struct {
	file *os.File
	// path is the name that file gets when it is complete, "" for a stream.
	path  string
	codec image.Codec
	to    []sealed.Recipient
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
		return &fileOutlet{os.NewFile(uintptr(fd), e.Stdout.Name()), "", e.Codec, e.To}, nil
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
	return &fileOutlet{file, e.File, e.Codec, e.To}, nil
}

// take implements outlet.
func (o *fileOutlet) take(ctx context.Context, img *image.Reader) error {
	if o.path == "" {
		err := pour(ctx, o.file, func(w io.Writer) error { return image.WriteSealed(ctx, img, w, o.codec, o.to) })
		if err != nil {
			return err
		}
		// A pipe has nothing to sync.
		if err := o.file.Sync(); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EROFS) {
			return err
		}
		return nil
	}
	if err := image.WriteSealed(ctx, img, o.file, o.codec, o.to); err != nil {
		return err
	}
	return o.publish()
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
	if o.path != "" {
		os.Remove(o.file.Name())
	}
	o.file.Close()
}
