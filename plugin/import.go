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
	// IgnoreRootfs leaves the root filesystem as it is, IgnoreVolumes the volumes, whatever
	// changes the stream has.
	IgnoreRootfs, IgnoreVolumes bool
	// IgnoreStaticIP and IgnoreStaticMAC let a container of podman that is made for the
	// import have other addresses than it had. One with another name has so in any case.
	IgnoreStaticIP, IgnoreStaticMAC bool
}

// RestoreFrom is Restore of an import. What the stream has of the changes of root filesystem
// and volumes is brought there before the container is started, and taken back if the
// restore fails. The contents of the image go from the stream to where they belong, and
// nothing runs before its last byte is found good. The image lands in a directory first if
// i.Keep asks for it, if the request has a digest, or if its contents are in another order
// than a restore needs.
func RestoreFrom(ctx context.Context, engines *Registry, r Request, i Import) (_ *Session, err error) {
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
	archive, err := sealed.Decrypt(stream, i.With)
	if err != nil {
		return failed(err)
	}
	plain, closer, err := image.Decompress(archive)
	if err != nil {
		return failed(err)
	}
	defer closer.Close()
	ground := new(landing)
	if i.File != "" {
		ground, err = i.land(ctx, engines, &r, plain)
	} else {
		// Only the image was asked for.
		err = skipPrelude(plain)
	}
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ground.abandon(ctx))
		}
	}()
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
	if err := ground.apply(ctx); err != nil {
		return failed(err)
	}
	r.ready = ground.ready
	session, err := Restore(ctx, engines, r)
	if err != nil {
		return failed(err)
	}
	if err := ground.commit(); err != nil {
		// The container runs.
		r.Options.Log.WithError(err).Warn("what the import has replaced in the root filesystem remains")
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
