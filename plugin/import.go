package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/restore"
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
}

// RestoreFrom is Restore of an import. The contents of the image go from the stream to
// where they belong, and nothing runs before its last byte is found good. The image lands
// in a directory first if i.Keep asks for it or if its contents are in another order than
// a restore needs: no container is made then before the whole stream is here.
func RestoreFrom(ctx context.Context, engines *Registry, r Request, i Import) (*Session, error) {
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
	// Entries in front of the image's would be read here.
	img, err := image.OpenStream(ctx, stream)
	if err == nil {
		defer img.Close()
		if !i.Keep {
			err = restore.Streams(img)
		}
	}
	ordered := !errors.Is(err, image.ErrOrder)
	if err != nil && ordered {
		return nil, fmt.Errorf("import %s: %w", from.Name(), err)
	}
	if !i.Keep && ordered {
		r.Options.From = img
		session, err := Restore(ctx, engines, r)
		if err != nil {
			err = fmt.Errorf("import %s: %w", from.Name(), err)
		}
		return session, err
	}
	remove, err := i.land(ctx, engines, &r, img)
	defer remove()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", from.Name(), err)
	}
	return Restore(ctx, engines, r)
}

// land puts the image into a directory, which remove removes unless it is to stay.
func (i Import) land(ctx context.Context, engines *Registry, r *Request, img *image.Reader) (remove func(), err error) {
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
