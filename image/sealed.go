package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/specs"
)

// SealedWriter writes an encrypted image: a directory whose one file, specs.SealedFile, is the
// stream of WriteTo, encrypted (package sealed). It is published as other images are.
type SealedWriter struct {
	partial *partial
	to      []sealed.Recipient
}

// CreateSealed begins an encrypted image at dir, under the conditions of Create. The caller ends with
// Commit or Abort, and may always defer Abort.
func CreateSealed(dir string, to []sealed.Recipient) (*SealedWriter, error) {
	p, err := newPartial(dir)
	if err != nil {
		return nil, full(fmt.Errorf("create encrypted image: %w", err))
	}
	return &SealedWriter{p, to}, nil
}

// Commit encrypts the image of r and puts the result in its place, on stable storage. If it fails, what
// stood there is as it was.
func (w *SealedWriter) Commit(ctx context.Context, r *Reader) error {
	if err := w.commit(ctx, r); err != nil {
		return full(fmt.Errorf("encrypt image %s: %w", filepath.Join(w.partial.parent.path, w.partial.base), err))
	}
	return nil
}

func (w *SealedWriter) commit(ctx context.Context, r *Reader) error {
	file, err := w.partial.create(specs.SealedFile)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := WriteSealed(ctx, r, file, Zstd, w.to); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := w.partial.file.Sync(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err = w.partial.publish(true)
	return err
}

// Abort removes what was not committed, and after Commit the image whose place the new one has taken.
func (w *SealedWriter) Abort() error { return w.partial.abort() }

// OpenSealed opens the stream in the encrypted image dir; nil if dir is none.
func OpenSealed(dir string) (*os.File, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	d, err := openDirectory(path)
	if errors.Is(err, ErrNotImage) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.close()
	is, err := d.sealed()
	if !is || err != nil {
		return nil, err
	}
	file, _, err := d.open(specs.SealedFile)
	return file, err
}

// sealed tells whether d holds an encrypted image: the one file, and that begins as one.
func (d *directory) sealed() (bool, error) {
	names, err := d.names()
	if err != nil || len(names) != 1 || names[0] != specs.SealedFile {
		return false, err
	}
	file, _, err := d.open(specs.SealedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	return sealed.IsSealed(bufio.NewReader(file))
}

// replaceable tells what keeps the directory from being replaced by a new image: nil for an
// image, plain or encrypted.
func (d *directory) replaceable() error {
	if is, err := d.sealed(); is || err != nil {
		return err
	}
	_, err := load(d, false)
	return err
}
