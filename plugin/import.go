package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/image"
)

// Import says where an image comes from as one stream (image.WriteTo).
type Import struct {
	// File is Standard for Stdin.
	File string
	// Stdin has the stream if File is Standard. The container does not get it then.
	Stdin *os.File
	// Keep leaves the image beside the bundle (Registry.ImageOf) instead of removing
	// it after the restore.
	Keep bool
	// IgnoreRootfs leaves the root filesystem as it is, IgnoreVolumes the volumes, whatever
	// changes the stream has.
	IgnoreRootfs, IgnoreVolumes bool
	// IgnoreStaticIP and IgnoreStaticMAC let a container of podman that is made for the
	// import have other addresses than it had. One with another name has so in any case.
	IgnoreStaticIP, IgnoreStaticMAC bool
}

// RestoreFrom is Restore of an import. The container is not made (one of podman is made,
// and not started) before the whole stream is here and found good. What the stream has of the
// changes of root filesystem and volumes is brought there before the container is started, and
// taken back if the restore fails.
func RestoreFrom(ctx context.Context, engines *Registry, r Request, i Import) (_ *Session, err error) {
	if r.Options.Log == nil {
		r.Options.Log = silent()
	}
	from, err := i.open()
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if i.File == Standard {
		r.Spec.Stdin = nil
	} else {
		defer from.Close()
	}
	stream, stop := draw(ctx, from)
	defer stop()
	failed := func(err error) (*Session, error) { return nil, fmt.Errorf("import %s: %w", from.Name(), err) }
	plain, closer, err := image.Decompress(stream)
	if err != nil {
		return failed(err)
	}
	defer closer.Close()
	ground, err := i.land(ctx, engines, &r, plain)
	if err != nil {
		return failed(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ground.abandon(ctx))
		}
	}()
	remove, err := i.receive(ctx, engines, &r, plain)
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
		return nil, err
	}
	if err := ground.commit(); err != nil {
		// The container runs.
		r.Options.Log.WithError(err).Warn("what the import has replaced in the root filesystem remains")
	}
	return session, nil
}

// receive puts the image into a directory, which remove removes unless it is to stay.
func (i Import) receive(ctx context.Context, engines *Registry, r *Request, from io.Reader) (remove func(), err error) {
	remove = func() {}
	if i.Keep {
		if r.Options.Image, err = engines.ImageOf(ctx, *r); err != nil {
			return remove, err
		}
	} else {
		dir, err := workDir("import")
		if err != nil {
			return remove, err
		}
		remove = func() {
			if err := os.RemoveAll(dir); err != nil {
				r.Options.Log.WithError(err).Warnf("the temporary image %s remains", dir)
			}
		}
		r.Options.Image = filepath.Join(dir, "image")
	}
	_, err = image.Receive(ctx, from, r.Options.Image)
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
