package plugin

import (
	"context"
	"fmt"
	"os"

	"github.com/sirupsen/logrus"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
)

// Unsealed makes a plain image of the one at path: itself if it is plain, else a temporary one
// that done removes. It may be a directory or the file of an export.
func Unsealed(ctx context.Context, path string, with []sealed.Identity, log *logrus.Entry) (plain string, done func(), err error) {
	from, err := packed(path, with)
	if err != nil {
		return "", nil, err
	}
	if from == nil {
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

// packed opens the stream in what is at path, an encrypted image or the file of an export; nil for a plain
// image, which is refused if there are identities.
func packed(path string, with []sealed.Identity) (*os.File, error) {
	from, err := image.OpenSealed(path)
	if from != nil || err != nil {
		return from, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		return os.Open(path)
	}
	if len(with) == 0 {
		return nil, nil
	}
	img, err := image.Open(path)
	if err != nil {
		return nil, err
	}
	img.Close()
	return nil, fmt.Errorf("%s: %w: it has to be, as an identity was given", path, sealed.ErrPlain)
}

// unpack receives a stream, which may be encrypted, into an image. What an export has in front of it
// is checked and left out.
func unpack(ctx context.Context, from *os.File, dir string, with []sealed.Identity) error {
	stream, stop := draw(ctx, from)
	defer stop()
	archive, err := sealed.Decrypt(stream, with)
	if err != nil {
		return err
	}
	plain, closer, err := image.Decompress(archive)
	if err != nil {
		return err
	}
	defer closer.Close()
	if err := skipPrelude(plain); err != nil {
		return err
	}
	_, err = image.Receive(ctx, plain, dir)
	return err
}
