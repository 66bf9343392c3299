package plugin

import (
	"context"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
)

// Import says where an image comes from that has to be unpacked: one stream (image.WriteTo), or an
// encrypted image.
type Import struct {
	// File is Standard for Stdin, "" for the image directory of the request.
	File string
	// Stdin has the stream if File is Standard. The container does not get it then.
	Stdin *os.File
	// Keep leaves the image beside the bundle (Registry.ImageOf) instead of removing
	// it after the restore.
	Keep bool
	// With are the identities that decrypt it. With some a plain image is refused.
	With []sealed.Identity
}

// RestoreFrom is Restore of an import. No container is made before the whole stream is
// here and found good.
func RestoreFrom(ctx context.Context, engines *Registry, r Request, i Import) (*Session, error) {
	if r.Options.Log == nil {
		r.Options.Log = silent()
	}
	var err error
	if i.File == "" {
		if r.Options.Image, err = engines.ImageOf(ctx, r); err != nil {
			return nil, err
		}
		plain, done, err := Unsealed(ctx, r.Options.Image, i.With, r.Options.Log)
		if err != nil {
			return nil, err
		}
		defer done()
		r.Options.Image = plain
		return Restore(ctx, engines, r)
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
		work, err := newWork("import")
		if err != nil {
			return nil, err
		}
		defer work.remove(r.Options.Log)
		r.Options.Image = work.image()
	}
	if err := unpack(ctx, from, r.Options.Image, i.With); err != nil {
		return nil, fmt.Errorf("import %s: %w", from.Name(), err)
	}
	return Restore(ctx, engines, r)
}

// Unsealed makes a plain image of the one at path: itself if it is plain, else a temporary one
// that done removes. It may be a directory or the file of an export.
func Unsealed(ctx context.Context, path string, with []sealed.Identity, log *logrus.Entry) (plain string, done func(), err error) {
	from, err := image.OpenSealed(path)
	if err != nil {
		return "", nil, err
	}
	if from == nil {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			if from, err = os.Open(path); err != nil {
				return "", nil, err
			}
		}
	}
	if from == nil {
		if len(with) > 0 {
			img, err := image.Open(path)
			if err != nil {
				return "", nil, err
			}
			img.Close()
			return "", nil, fmt.Errorf("%s: %w: it has to be, as an identity was given", path, sealed.ErrPlain)
		}
		return path, func() {}, nil
	}
	defer from.Close()
	work, err := newWork("import")
	if err != nil {
		return "", nil, err
	}
	if err := unpack(ctx, from, work.image(), with); err != nil {
		work.remove(log)
		return "", nil, fmt.Errorf("%s: %w", path, err)
	}
	return work.image(), func() { work.remove(log) }, nil
}

// unpack receives a stream, which may be encrypted, into an image.
func unpack(ctx context.Context, from *os.File, dir string, with []sealed.Identity) error {
	stream, stop := draw(ctx, from)
	defer stop()
	plain, err := sealed.Decrypt(stream, with)
	if err != nil {
		return err
	}
	_, err = image.Receive(ctx, plain, dir)
	return err
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
