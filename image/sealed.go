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
// stream of WriteTo or CreateStream, encrypted (package sealed). It is published as other images are.
type SealedWriter struct {
	partial *partial
	file    *os.File
	stream  *Compressor
}

// CreateSealed begins an encrypted image at dir, under the conditions of Create. The caller writes the
// stream, uncompressed, ends with Commit or Abort, and may always defer Abort.
func CreateSealed(dir string, to []sealed.Recipient) (*SealedWriter, error) {
	p, err := newPartial(dir)
	if err != nil {
		return nil, full(fmt.Errorf("create encrypted image: %w", err))
	}
	w := &SealedWriter{partial: p}
	if w.file, err = p.create(specs.SealedFile); err == nil {
		w.stream, err = Compress(w.file, Zstd, to)
	}
	if err != nil {
		return nil, errors.Join(w.explain(err), w.Abort())
	}
	return w, nil
}

// Write takes a part of the stream.
func (w *SealedWriter) Write(b []byte) (int, error) {
	n, err := w.stream.Write(b)
	return n, w.explain(err)
}

// Commit puts the image in its place, on stable storage. If it fails, what stood there is as it was.
func (w *SealedWriter) Commit(ctx context.Context) error { return w.explain(w.commit(ctx)) }

func (w *SealedWriter) explain(err error) error {
	if err == nil {
		return nil
	}
	return full(fmt.Errorf("encrypt image %s: %w", filepath.Join(w.partial.parent.path, w.partial.base), err))
}

func (w *SealedWriter) commit(ctx context.Context) error {
	stream := w.stream
	w.stream = nil
	if err := stream.Close(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := w.partial.file.Sync(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := w.partial.publish(true)
	return err
}

// Abort removes what was not committed, and after Commit the image whose place the new one has taken.
func (w *SealedWriter) Abort() error {
	if w.stream != nil {
		w.stream.Abort()
		w.stream = nil
	}
	if w.file != nil {
		w.file.Close()
	}
	return w.partial.abort()
}

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
