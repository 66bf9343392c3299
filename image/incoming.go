package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// windowSize is how many bytes of pages a stream makes readable at a time.
const windowSize = 16 << 20

// OpenStream reads a stream as far as the records of its image, which are checked as
// Open checks them. The contents come later, when they are asked for, and only front to
// back: Position tells where they are. from may be behind entries of a tar that somebody
// else has read. Not the whole image has been checked when contents are given out,
// only these (extents by their sums, other files when they have ended): who acts upon
// them must not count on it before Finish. A source that blocks is not interrupted:
// close it.
func OpenStream(ctx context.Context, from io.Reader) (*Reader, error) {
	s := &incoming{receiver: receiver{source: &source{Reader: from}}, at: -1}
	err := s.begin(ctx, func() (*os.File, error) {
		var err error
		if s.raw, err = memoryOf("image.rt"); err != nil {
			return nil, err
		}
		fd, err := unix.FcntlInt(s.raw.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewFile(uintptr(fd), "stream: "+specs.ImageFile), err
	})
	if err != nil {
		err = fmt.Errorf("open stream: %w", s.explain(err))
		return nil, errors.Join(err, s.stop())
	}
	return &Reader{stream: s, contents: s.contents}, nil
}

// memoryOf is a file in the kernel's memory.
func memoryOf(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate("rethaw "+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// incoming is a stream that is read as its contents are asked for.
type incoming struct {
	receiver
	// raw is image.rt until the first contents are asked for: the image may land in a
	// directory until then.
	raw *os.File
	// at is the number of the member at hand, pos the place in it.
	at   int
	pos  int64
	hash *xxh3.Hasher128
	// window has the pages that were loaded last.
	window *os.File
	buffer []byte
	// failed is the first error: nothing comes after it.
	failed error
}

// stop gives back everything.
func (s *incoming) stop() error {
	s.receiver.close()
	for _, f := range []*os.File{s.raw, s.window} {
		if f != nil {
			f.Close()
		}
	}
	s.raw, s.window = nil, nil
	if s.buffer != nil {
		_ = unix.Munmap(s.buffer)
		s.buffer = nil
	}
	if s.failed == nil {
		s.failed = os.ErrClosed
	}
	return nil
}

// begun prepares for contents.
func (s *incoming) begun() (err error) {
	if s.failed != nil {
		return s.failed
	}
	if s.raw != nil {
		s.raw.Close()
		s.raw = nil
	}
	if s.buffer == nil {
		// Memory of its own: the garbage collector need not look at it.
		s.buffer, err = unix.Mmap(-1, 0, MaxAppend, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	}
	return err
}

// fail keeps an error.
func (s *incoming) fail(err error) error {
	if err != nil && s.failed == nil {
		s.failed = s.explain(err)
	}
	return s.failed
}

// seek goes on to an offset of a member.
func (s *incoming) seek(name string, offset int64) error {
	for s.at < 0 || s.contents.members[s.at].Name != name {
		if s.at+1 == len(s.contents.members) {
			return fmt.Errorf("%s at %d was asked for when all had been read: %w", name, offset, ErrOrder)
		}
		if err := s.advance(); err != nil {
			return err
		}
	}
	if offset < s.pos {
		return fmt.Errorf("%s at %d was asked for behind %d: %w", name, offset, s.pos, ErrOrder)
	}
	return s.skip(offset - s.pos)
}

// ErrOrder is a stream whose contents are not in the order in which they are needed.
var ErrOrder = errors.New("the stream is in another order")

// skip reads n bytes that nobody needs.
func (s *incoming) skip(n int64) error {
	for n > 0 {
		b := s.buffer[:min(n, int64(len(s.buffer)))]
		if err := s.read(b); err != nil {
			return err
		}
		n -= int64(len(b))
	}
	return nil
}

// read gives what comes next in the member at hand.
func (s *incoming) read(b []byte) error {
	m := s.contents.members[s.at]
	if int64(len(b)) > m.Size-s.pos {
		return fmt.Errorf("%s has %d bytes, and %d more were asked for at %d: %w", m.Name, m.Size, len(b), s.pos, io.ErrUnexpectedEOF)
	}
	if n, err := io.ReadFull(s.archive, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return readError{fmt.Errorf("%s: read at offset %d: %w", m.Name, s.pos+int64(n), err)}
	}
	s.hash.Write(b)
	s.pos += int64(len(b))
	return nil
}

// advance ends the member at hand and goes on to the next one.
func (s *incoming) advance() error {
	if err := s.complete(); err != nil {
		return err
	}
	want := s.contents.members[s.at+1]
	header, err := s.next()
	if err == io.EOF {
		return bad(ErrTruncated, "stream", "it ends before %s", want.Name)
	}
	if err != nil {
		return err
	}
	if _, err := s.member(header); err != nil {
		return err
	}
	if header.Name != want.Name {
		return bad(ErrCorrupt, "stream", "the file %q stands in the place of %q", header.Name, want.Name)
	}
	s.at, s.pos, s.hash = s.at+1, 0, xxh3.New128()
	return nil
}

// complete reads the member at hand to its end and compares its digest.
func (s *incoming) complete() error {
	if s.at < 0 {
		return nil
	}
	m := s.contents.members[s.at]
	if err := s.skip(m.Size - s.pos); err != nil {
		return err
	}
	if sum := s.hash.Sum128().Bytes(); !bytes.Equal(sum[:], m.Sum) {
		return bad(ErrCorrupt, "stream: "+m.Name, "its XXH3 is %x and was %x", sum, m.Sum)
	}
	return nil
}

// finish reads everything that is left.
func (s *incoming) finish() error {
	if err := s.begun(); err != nil {
		return err
	}
	for s.at+1 < len(s.contents.members) {
		if err := s.advance(); err != nil {
			return s.fail(err)
		}
	}
	if err := s.complete(); err != nil {
		return s.fail(err)
	}
	header, err := s.next()
	if err == nil {
		_, err = s.member(header)
	}
	if err == io.EOF {
		err = s.atEnd()
	}
	return s.fail(err)
}

// extent reads one extent into b and compares its sum.
func (s *incoming) extent(e specs.Extent, b []byte) error {
	name := pagesName(e.File)
	if err := s.seek(name, int64(e.Offset)); err != nil {
		return err
	}
	if err := s.read(b); err != nil {
		return err
	}
	if sum := Sum(b); e.Sum != 0 && sum != e.Sum {
		return &Error{Kind: ErrCorrupt, Path: "stream: " + name, Record: -1, Offset: int64(e.Offset),
			Detail: fmt.Sprintf("%d pages at %#x: XXH3 %#016x, and it was %#016x", e.Count, e.Start, sum, e.Sum)}
	}
	return nil
}

// position tells how far from the beginning an extent is: members are counted by the
// upper half.
func (s *incoming) position(name string, offset uint64) (at [2]uint64, ok bool) {
	i := slices.IndexFunc(s.contents.members, func(m specs.Member) bool { return m.Name == name })
	return [2]uint64{uint64(i), offset}, i >= 0
}

// load puts extents into the window, one behind the other.
func (s *incoming) load(list []specs.Extent, page int64) ([]specs.Extent, error) {
	if err := s.begun(); err != nil {
		return nil, err
	}
	file, err := s.windowFile()
	if err != nil {
		return nil, err
	}
	loaded, at := make([]specs.Extent, len(list)), int64(0)
	for i, e := range list {
		size := int64(e.Count) * page
		if size > MaxAppend || at+size > windowSize {
			return nil, s.fail(fmt.Errorf("%d pages at %#x: %w", e.Count, e.Start, ErrOrder))
		}
		b := s.buffer[:size]
		if err := s.extent(e, b); err != nil {
			return nil, s.fail(err)
		}
		if _, err := file.WriteAt(b, at); err != nil {
			return nil, s.fail(err)
		}
		loaded[i] = specs.Extent{Start: e.Start, Count: e.Count, Offset: uint64(at)}
		at += size
	}
	return loaded, nil
}

func (s *incoming) windowFile() (*os.File, error) {
	if s.window == nil {
		var err error
		if s.window, err = memoryOf("window"); err != nil {
			return nil, err
		}
	}
	return s.window, nil
}

// Land reads the rest of a stream whose contents were not asked for yet, and puts the
// image at dir, as Receive does.
func (r *Reader) Land(ctx context.Context, dir string) (Stats, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream == nil || r.stream.raw == nil {
		return Stats{}, errors.New("the stream has been read, or there is none")
	}
	s := r.stream
	raw := s.raw
	return s.land(ctx, dir, func() error {
		file, err := s.partial.create(specs.ImageFile)
		if err != nil {
			return err
		}
		defer file.Close()
		return fillFile(ctx, file, io.NewSectionReader(raw, 0, r.size), specs.Member{Name: specs.ImageFile, Size: r.size})
	})
}
