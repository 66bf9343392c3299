package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/rethaw/rethaw/specs"
)

// CreateStream begins an image that goes into a stream, without a directory and with
// nothing kept of the contents: while the records are put, contents are read for their
// sums alone, and once more when the image is sealed, to be sent behind the records.
// Bytes that differ then fail the Seal. The stream is complete after Commit; who takes
// it finds out by its end whether it was. With None w may have taken entries of a tar
// before, behind which the image's stand then.
func CreateStream(w io.Writer, c Codec) (*Writer, error) {
	codec, err := c.find()
	if err != nil {
		return nil, err
	}
	s := &streamStore{to: w, codec: codec}
	return newWriter(s, &s.records)
}

// streamStore writes an image into a stream.
type streamStore struct {
	to      io.Writer
	codec   codec
	records memoryFile
	fills   []filled
	stats   Stats
}

// filled is a member of a stream before it is sent.
type filled struct {
	specs.Member
	write func(io.Writer) error
}

func (s *streamStore) path() string  { return "stream" }
func (s *streamStore) ordered() bool { return true }

func (s *streamStore) pages(number uint32) (*Pages, error) {
	return &Pages{recital: newRecital(), number: number}, nil
}

// fill finds out size and digest.
func (s *streamStore) fill(name string, write func(io.Writer) error) error {
	m, err := measure(name, io.Discard, write)
	if err != nil {
		return err
	}
	for _, f := range s.fills {
		if f.Name == name {
			return errors.New("it exists already")
		}
	}
	s.fills = append(s.fills, filled{m, write})
	return nil
}

// measure runs write and describes what it has written.
func measure(name string, to io.Writer, write func(io.Writer) error) (specs.Member, error) {
	hash, size := xxh3.New128(), byteCount(0)
	if err := write(io.MultiWriter(hash, &size, to)); err != nil {
		return specs.Member{}, err
	}
	sum := hash.Sum128().Bytes()
	return specs.Member{Name: name, Size: int64(size), Sum: sum[:]}, nil
}

// byteCount counts bytes.
type byteCount int64

func (c *byteCount) Write(b []byte) (int, error) {
	*c += byteCount(len(b))
	return len(b), nil
}

// seal sends everything.
func (s *streamStore) seal(ctx context.Context, w *Writer) error {
	list := &specs.Members{}
	var names []string
	for _, f := range s.fills {
		list.Files, names = append(list.Files, f.Member), append(names, f.Name)
	}
	for _, p := range w.pages {
		list.Files = append(list.Files, specs.Member{Name: p.name(), Size: p.size, Sum: p.recital.sum()})
	}
	if err := w.complete(names); err != nil {
		return err
	}
	if err := w.finish(ctx, list); err != nil {
		return err
	}
	s.stats = newStats(len(w.entries)+1, w.size, list.Files)
	return sendArchive(s.to, s.codec, func(archive *tar.Writer) error { return s.send(ctx, archive, w, list.Files) })
}

// send adds the entries of the image.
func (s *streamStore) send(ctx context.Context, archive *tar.Writer, w *Writer, list []specs.Member) error {
	made := time.Now().Truncate(time.Second)
	if err := archive.WriteHeader(entryOf(specs.Member{Name: specs.ImageFile, Size: w.size}, made)); err != nil {
		return err
	}
	if err := copyAll(ctx, archive, io.NewSectionReader(&s.records, 0, w.size)); err != nil {
		return err
	}
	s.records = memoryFile{}
	for i, m := range list {
		if err := archive.WriteHeader(entryOf(m, made)); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		write := func(to io.Writer) error { return w.pages[i-len(s.fills)].recital.recite(ctx, to) }
		if i < len(s.fills) {
			write = s.fills[i].write
		}
		again, err := measure(m.Name, contextWriter{ctx, archive}, write)
		if errors.Is(err, tar.ErrWriteTooLong) || err == nil && (again.Size != m.Size || !bytes.Equal(again.Sum, m.Sum)) {
			err = errChanged
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return nil
}

// contextWriter is a writer that ctx ends.
type contextWriter struct {
	ctx context.Context
	to  io.Writer
}

func (w contextWriter) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.to.Write(b)
}

func (s *streamStore) commit(context.Context, *Writer) (Stats, error) { return s.stats, nil }

func (s *streamStore) closeFiles() { s.records = memoryFile{} }

func (s *streamStore) abort() error { return nil }

// memoryFile is image.rt in memory: it goes first and is known last.
type memoryFile struct{ chunks [][]byte }

func (*memoryFile) Name() string { return specs.ImageFile }

// WriteAt appends: nothing else is asked of it.
func (m *memoryFile) WriteAt(b []byte, _ int64) (int, error) {
	m.chunks = append(m.chunks, bytes.Clone(b))
	return len(b), nil
}

// ReadAt reads from as many chunks as it takes.
func (m *memoryFile) ReadAt(b []byte, at int64) (n int, err error) {
	for _, c := range m.chunks {
		if at < int64(len(c)) {
			k := copy(b[n:], c[at:])
			n, at = n+k, at+int64(k)
		}
		if n == len(b) {
			return n, nil
		}
		at -= int64(len(c))
	}
	return n, io.EOF
}
