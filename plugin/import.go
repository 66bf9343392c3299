package plugin

import (
	"context"
	"fmt"
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
}

// RestoreFrom is Restore of an import. No container is made before the whole stream is
// here and found good.
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
	if i.Keep {
		if r.Options.Image, err = engines.ImageOf(ctx, r); err != nil {
			return nil, err
		}
	} else {
		dir, err := workDir("import")
		if err != nil {
			return nil, err
		}
		defer func() {
			if err := os.RemoveAll(dir); err != nil {
				r.Options.Log.WithError(err).Warnf("the temporary image %s remains", dir)
			}
		}()
		r.Options.Image = filepath.Join(dir, "image")
	}
	stream, stop := draw(ctx, from)
	_, err = image.Receive(ctx, stream, r.Options.Image)
	stop()
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", from.Name(), err)
	}
	return Restore(ctx, engines, r)
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
