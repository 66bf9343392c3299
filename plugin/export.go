package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
)

// Standard is the file name that means our own stdin or stdout.
const Standard = "-"

// ErrPlace: there is something at the place of an export that it must not replace.
var ErrPlace = errors.New("in use for something else")

// errAborted ends a stream that nobody will complete.
var errAborted = errors.New("export aborted")

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
	// IgnoreRootfs leaves out the changes of the root filesystem, IgnoreVolumes the
	// contents of volumes.
	IgnoreRootfs, IgnoreVolumes bool
	// Base is what a root filesystem that is no overlay was a copy of, "" if
	// that is not known.
	Base string
}

// None tells that the image goes nowhere but to its place, as it is.
func (e Export) None() bool { return e.File == "" && len(e.To) == 0 }

// CheckpointTo is Checkpoint with an export. The tasks stand still until the stream is
// complete and, in a file, on stable storage; whatever fails before, they go on. The
// image goes straight into the stream, and encrypted into a directory, unless o.Image or
// e.Keep asks for a directory in plain text, or o.LeaveRunning for an encrypted directory
// alone: that is made of a temporary one while the tasks run again.
func CheckpointTo(ctx context.Context, c Container, o checkpoint.Options, e Export) (*checkpoint.Stats, error) {
	return exportAs(ctx, c, o, e, checkpointAs)
}

// exportAs has take take a checkpoint, and exports it. The last argument of take is where
// the user finds the image.
func exportAs(ctx context.Context, c Container, o checkpoint.Options, e Export,
	take func(context.Context, Container, checkpoint.Options, string) (*checkpoint.Stats, error)) (*checkpoint.Stats, error) {
	if o.Log == nil {
		o.Log = silent()
	}
	// Before anything is stopped: what is wrong with a place is known then.
	var outs outlets
	defer func() { outs.abort() }()
	var err error
	var file *fileOutlet
	var front *prelude
	if e.File != "" {
		if file, err = e.open(); err != nil {
			return nil, exported(err)
		}
		outs = append(outs, file)
		if front, err = e.prepare(ctx, c, func(said string) { o.Log.Warn(said) }); err != nil {
			return nil, exported(err)
		}
	}
	if o.Image == "" && (e.Keep || e.File == "") {
		if o.Image, err = ImageOf(ctx, c, ""); err != nil {
			return nil, err
		}
	}
	place := cmp.Or(o.Image, e.File)
	if o.Image != "" && len(e.To) > 0 {
		w, err := image.CreateSealed(o.Image, e.To)
		if err != nil {
			return nil, err
		}
		outs = append(outs, sealedOutlet{w})
		o.Image = ""
		if o.LeaveRunning && e.File == "" {
			// The tasks do not wait for the encryption then.
			work, err := newWork("export")
			if err != nil {
				return nil, err
			}
			defer work.remove(o.Log)
			o.Image = work.image()
		}
	}
	to, err := outs.begin(ctx)
	if err != nil {
		return nil, exported(err)
	}
	if front != nil {
		// Changes are read while no task can make more, also with o.LeaveRunning.
		o.Frozen = func(ctx context.Context) error { return exported(front.write(ctx, file.plain)) }
	}
	if o.Image == "" {
		o.Create = func() (*image.Writer, error) { return image.CreateStream(to, image.None) }
	}
	o.Committed = func(ctx context.Context) error {
		if o.Image != "" {
			if err := copyImage(ctx, o.Image, to); err != nil {
				return exported(err)
			}
		}
		return exported(outs.end(ctx))
	}
	return take(ctx, c, o, place)
}

// exported names what has failed.
func exported(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("export: %w", err)
}

// copyImage writes the image in dir.
func copyImage(ctx context.Context, dir string, to io.Writer) error {
	img, err := image.Open(dir)
	if err != nil {
		return err
	}
	defer img.Close()
	return image.WriteTo(ctx, img, to, image.None)
}
