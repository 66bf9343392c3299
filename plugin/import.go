package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/restore"
)

// Import says where an image comes from that has to be unpacked: one stream (image.WriteTo), or an
// encrypted image.
type Import struct {
	// File is Standard for Stdin, "" for the image directory of the request.
	File string
	// Stdin has the stream if File is Standard. The container does not get it then.
	Stdin *os.File
	// Keep leaves the image of a File beside the bundle (Registry.ImageOf), in plain text.
	Keep bool
	// With are the identities that decrypt it. With some a plain image is refused.
	With []sealed.Identity
}

// RestoreFrom is Restore of an import. The contents of the image go from the stream to
// where they belong, and nothing runs before its last byte is found good. The image lands
// in a directory first if i.Keep asks for it, if the request has a digest, or if its contents
// are in another order than a restore needs: no container is made then before the whole stream
// is here.
func RestoreFrom(ctx context.Context, engines *Registry, r Request, i Import) (*Session, error) {
	if r.Options.Log == nil {
		r.Options.Log = silent()
	}
	from, err := i.source(ctx, engines, &r)
	if err != nil {
		return nil, err
	}
	if from == nil {
		return Restore(ctx, engines, r)
	}
	if i.File == Standard {
		r.Spec.Stdin = nil
	} else {
		defer from.Close()
	}
	failed := func(err error) (*Session, error) { return nil, fmt.Errorf("import %s: %w", from.Name(), err) }
	stream, stop := draw(ctx, from)
	defer stop()
	plain, err := sealed.Decrypt(stream, i.With)
	if err != nil {
		return failed(err)
	}
	// Entries in front of the image's would be read here.
	img, err := image.OpenStream(ctx, plain)
	if err != nil {
		return failed(err)
	}
	defer img.Close()
	remove, err := i.receive(ctx, engines, &r, img)
	defer remove()
	if err != nil {
		return failed(err)
	}
	session, err := Restore(ctx, engines, r)
	if err != nil {
		return failed(err)
	}
	return session, nil
}

// source opens what is to be unpacked, nil if that is nothing: a plain image directory.
func (i Import) source(ctx context.Context, engines *Registry, r *Request) (*os.File, error) {
	if i.File != "" {
		from, err := i.open()
		if err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
		return from, nil
	}
	var err error
	if r.Options.Image, err = engines.ImageOf(ctx, *r); err != nil {
		return nil, err
	}
	return packed(r.Options.Image, i.With)
}

// receive has r take the image as it comes, or puts it into a directory, which remove removes unless
// it is to stay.
func (i Import) receive(ctx context.Context, engines *Registry, r *Request, img *image.Reader) (remove func(), err error) {
	remove = func() {}
	if i.Keep && i.File != "" {
		if r.Options.Image, err = engines.ImageOf(ctx, *r); err != nil {
			return remove, err
		}
	} else {
		if r.Digest == "" {
			if err := restore.Streams(img); !errors.Is(err, image.ErrOrder) {
				r.Options.Image, r.Options.From = "", img
				return remove, err
			}
		}
		work, err := newWork("import")
		if err != nil {
			return remove, err
		}
		remove = func() { work.remove(r.Options.Log) }
		r.Options.Image = work.image()
	}
	_, err = img.Land(ctx, r.Options.Image)
	return remove, err
}

// open opens the source.
func (i Import) open() (*os.File, error) {
	if i.File == Standard {
		if isTerminal(i.Stdin) {
			return nil, fmtTerminal("--import - reads the image from stdin, which is a terminal: redirect it")
		}
		return i.Stdin, nil
	}
	file, err := os.Open(i.File)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", image.ErrNotImage, err)
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%w: %s is a directory: --image restores from one", image.ErrNotImage, i.File)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
