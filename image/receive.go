package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/specs"
)

// maxRecords bounds image.rt in a stream, in bytes; the sizes of all other files
// stand in it.
const maxRecords = 16 << 30

// Receive reads a stream of WriteTo, compressed in any of the ways that it knows,
// and puts the image at dir as Create and Commit would. Nothing of the stream is
// believed: image.rt must come first and be good, after it exactly the plain files
// that it lists, each once, of the size and with the digest that it says, and then
// nothing more. On any error dir is as it was. A source that blocks is not
// interrupted by ctx: close it.
func Receive(ctx context.Context, from io.Reader, dir string) (Stats, error) {
	p, err := newPartial(dir)
	if err != nil {
		return Stats{}, fmt.Errorf("receive image: %w", err)
	}
	r := &receiver{partial: p, source: &source{Reader: from}}
	stats, err := r.receive(ctx)
	if err != nil {
		err = full(fmt.Errorf("receive image %s: %w", filepath.Join(p.parent.path, p.base), r.explain(err)))
	}
	if closing := p.abort(); err != nil {
		err = errors.Join(err, closing)
	}
	return stats, err
}

// receiver is one run of Receive.
type receiver struct {
	partial  *partial
	source   *source
	contents *contents
	missing  []specs.Member
}

// source remembers the error of the reader that it wraps, so that a broken
// connection is not taken for a broken image.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.Reader.Read(b)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain gives an error of decoding the kind that it has for the user.
func (r *receiver) explain(err error) error {
	var known *Error
	var reading readError
	switch {
	case errors.Is(r.source.err, sealed.ErrForged):
		return r.source.err
	case errors.As(err, &known) || !errors.As(err, &reading):
		return err
	case r.source.err != nil:
		return fmt.Errorf("the stream broke: %w", err)
	}
	kind := ErrCorrupt
	if errors.Is(err, io.ErrUnexpectedEOF) {
		kind = ErrTruncated
	}
	return &Error{Kind: kind, Path: "stream", Record: -1, Offset: -1, Err: err}
}

func (r *receiver) receive(ctx context.Context) (Stats, error) {
	plain, err := decompress(r.source)
	if err != nil {
		return Stats{}, readError{err}
	}
	defer plain.Close()
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Stats{}, readError{err}
		}
		if err := r.entry(ctx, archive, header); err != nil {
			return Stats{}, err
		}
	}
	if r.contents == nil {
		return Stats{}, bad(ErrNotImage, "stream", "it is no archive that holds an %s", specs.ImageFile)
	}
	if len(r.missing) > 0 {
		return Stats{}, bad(ErrTruncated, "stream", "it ends before %s", r.missing[0].Name)
	}
	if err := atEnd(plain); err != nil {
		return Stats{}, err
	}
	return r.commit(ctx)
}

// entry takes one file of the archive.
func (r *receiver) entry(ctx context.Context, archive *tar.Reader, header *tar.Header) error {
	if err := checkEntry(header); err != nil {
		return err
	}
	if r.contents == nil {
		return r.records(ctx, archive, header)
	}
	i := slices.IndexFunc(r.missing, func(m specs.Member) bool { return m.Name == header.Name })
	if i < 0 {
		return bad(ErrCorrupt, "stream", "the file %q is not part of the image, or came before", header.Name)
	}
	m := r.missing[i]
	r.missing = slices.Delete(r.missing, i, i+1)
	if header.Size != m.Size {
		return bad(ErrCorrupt, "stream", "the file %q has %d bytes and should have %d", m.Name, header.Size, m.Size)
	}
	return r.file(ctx, archive, m)
}

// checkEntry refuses all that WriteTo does not write: names that are paths, links,
// devices, sparse files, attributes.
func checkEntry(header *tar.Header) error {
	if err := checkName(header.Name); err != nil {
		return bad(ErrCorrupt, "stream", "an entry's %v", err)
	}
	if header.Typeflag != tar.TypeReg || header.Linkname != "" {
		return bad(ErrCorrupt, "stream", "the entry %q is not a plain file (type %q)", header.Name, header.Typeflag)
	}
	for key := range header.PAXRecords {
		if !slices.Contains([]string{"path", "size", "mtime", "atime", "ctime"}, key) {
			return bad(ErrCorrupt, "stream", "the entry %q has the attribute %.60q", header.Name, key)
		}
	}
	return nil
}

// records takes image.rt, which tells what else must come.
func (r *receiver) records(ctx context.Context, archive *tar.Reader, header *tar.Header) error {
	if header.Name != specs.ImageFile {
		return bad(ErrNotImage, "stream", "it begins with the file %q, not with %s", header.Name, specs.ImageFile)
	}
	if header.Size > maxRecords {
		return bad(ErrCorrupt, "stream", "%s of %d bytes", header.Name, header.Size)
	}
	// The first bytes are looked at before room is made for all the rest.
	begin := bufio.NewReaderSize(archive, 64<<10)
	magic, err := begin.Peek(min(specs.PrologueSize, int(header.Size)))
	if err != nil {
		return readError{err}
	}
	if len(magic) < len(specs.Magic) || string(magic[:len(specs.Magic)]) != specs.Magic {
		return bad(ErrNotImage, "stream", "%s begins with %q", header.Name, magic)
	}
	if err := r.file(ctx, begin, specs.Member{Name: header.Name, Size: header.Size}); err != nil {
		return err
	}
	r.contents, err = load(&r.partial.directory, false)
	if err == nil {
		r.missing = slices.Clone(r.contents.members)
	}
	return err
}

// file writes one file. Its room is allocated first, where the filesystem can, so
// that a full disk shows at once.
func (r *receiver) file(ctx context.Context, from io.Reader, m specs.Member) error {
	file, err := r.partial.create(m.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	if m.Size > 0 {
		err := retry(func() error { return unix.Fallocate(int(file.Fd()), 0, 0, m.Size) })
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return full(fmt.Errorf("%s: allocate %d bytes: %w", file.Name(), m.Size, err))
		}
	}
	return copyMember(ctx, file, from, m, file.Name())
}

// atEnd reads what follows the archive: some zeros at most. It also makes the
// decompressor compare its own checksum.
func atEnd(plain io.Reader) error {
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(plain, most+1))
	if err != nil {
		return readError{err}
	}
	if len(b) > most || slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		return bad(ErrCorrupt, "stream", "there are bytes behind its end")
	}
	return nil
}

// commit syncs the files and gives the image its name.
func (r *receiver) commit(ctx context.Context) (Stats, error) {
	names, err := r.partial.names()
	if err != nil {
		return Stats{}, err
	}
	set, err := openMembers(&r.partial.directory, names)
	if err != nil {
		return Stats{}, err
	}
	defer set.close()
	records, _, err := r.partial.open(specs.ImageFile)
	if err != nil {
		return Stats{}, err
	}
	defer records.Close()
	set.startWriteback(records)
	if err := set.sync(records, r.partial.file); err != nil {
		return Stats{}, err
	}
	if err := ctx.Err(); err != nil {
		return Stats{}, err
	}
	stats := newStats(len(r.contents.records), r.contents.size, r.contents.members)
	stats.Replaced, err = r.partial.publish(true)
	return stats, err
}
