package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/rethaw/rethaw/specs"
)

// WriteTo writes the whole image as one tar stream (pax, POSIX.1-2001): image.rt,
// then its members in the order in which it lists them. The bytes of the members
// are compared with their digests on the way, so a damaged image fails with
// ErrCorrupt. Nothing but buffers is kept in memory. The same image gives the
// same tar.
func WriteTo(ctx context.Context, r *Reader, w io.Writer, c Codec) error {
	if err := writeTo(ctx, r, w, c); err != nil {
		return fmt.Errorf("stream image %s: %w", r.Path(), err)
	}
	return nil
}

func writeTo(ctx context.Context, r *Reader, w io.Writer, c Codec) error {
	codec, err := c.find()
	if err != nil {
		return err
	}
	if r.dir == nil {
		return errors.New("it is a stream already")
	}
	return sendArchive(w, codec, func(archive *tar.Writer) error { return r.archive(ctx, archive) })
}

// sendArchive writes a compressed tar, whose entries add adds.
func sendArchive(w io.Writer, codec codec, add func(*tar.Writer) error) error {
	// Compressors and tar write in pieces of a few bytes.
	buffered := bufio.NewWriterSize(w, 256<<10)
	compressed, err := codec.write(buffered)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	err = add(archive)
	if err == nil {
		err = archive.Close()
	}
	// Closed even after a failure, because the compressor has goroutines; what
	// it adds then to w is the end of a stream that Receive finds cut off.
	if closing := compressed.Close(); err == nil {
		err = closing
	}
	if flushing := buffered.Flush(); err == nil {
		err = flushing
	}
	return err
}

// entryOf is how a file of an image stands in a stream.
func entryOf(m specs.Member, made time.Time) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: m.Name, Size: m.Size, Mode: 0o600, ModTime: made}
}

// archive adds all files.
func (r *Reader) archive(ctx context.Context, archive *tar.Writer) error {
	records, size, err := r.dir.open(specs.ImageFile)
	if err != nil {
		return err
	}
	defer records.Close()
	if size != r.size {
		return bad(ErrCorrupt, records.Name(), "the file has %d bytes and had %d", size, r.size)
	}
	if err := r.archiveFile(ctx, archive, records, specs.Member{Name: specs.ImageFile, Size: size}); err != nil {
		return err
	}
	for _, m := range r.members {
		if err := r.archiveMember(ctx, archive, m); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) archiveMember(ctx context.Context, archive *tar.Writer, m specs.Member) error {
	file, err := r.Member(m.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	return r.archiveFile(ctx, archive, file, m)
}

func (r *Reader) archiveFile(ctx context.Context, archive *tar.Writer, file *os.File, m specs.Member) error {
	if err := archive.WriteHeader(entryOf(m, time.Unix(0, r.header.Created).Truncate(time.Second))); err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return copyMember(ctx, archive, file, m, file.Name())
}

// readError marks an error as one of the source of a copy.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

// copyMember copies exactly the bytes of m and compares them with its digest, if
// it has one. path is for errors.
func copyMember(ctx context.Context, to io.Writer, from io.Reader, m specs.Member, path string) error {
	hash := xxh3.New128()
	buffer := make([]byte, min(chunk, max(m.Size, 1)))
	for left := m.Size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		piece := buffer[:min(chunk, left)]
		n, err := io.ReadFull(from, piece)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return readError{fmt.Errorf("%s: read at offset %d: %w", path, m.Size-left+int64(n), err)}
		}
		if _, err := to.Write(piece); err != nil {
			return full(fmt.Errorf("%s: %w", path, err))
		}
		hash.Write(piece)
		left -= int64(n)
	}
	sum := hash.Sum128().Bytes()
	if m.Sum != nil && !bytes.Equal(sum[:], m.Sum) {
		return bad(ErrCorrupt, path, "its XXH3 is %x and was %x", sum, m.Sum)
	}
	return nil
}
