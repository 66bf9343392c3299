package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	r := &receiver{source: &source{Reader: from}}
	defer r.close()
	return r.land(ctx, dir, func() error {
		return r.begin(ctx, func() (*os.File, error) { return r.partial.create(specs.ImageFile) })
	})
}

// land has begin read the records and puts the image at dir.
func (r *receiver) land(ctx context.Context, dir string, begin func() error) (Stats, error) {
	var err error
	if r.partial, err = newPartial(dir); err != nil {
		return Stats{}, fmt.Errorf("receive image: %w", err)
	}
	var stats Stats
	if err = begin(); err == nil {
		stats, err = r.rest(ctx)
	}
	if err != nil {
		err = full(fmt.Errorf("receive image %s: %w", filepath.Join(r.partial.parent.path, r.partial.base), r.explain(err)))
	}
	if closing := r.partial.abort(); err != nil {
		err = errors.Join(err, closing)
	}
	return stats, err
}

// receiver reads one stream.
type receiver struct {
	source   *source
	plain    io.ReadCloser
	archive  *tar.Reader
	contents *contents
	missing  []specs.Member
	// partial is where the image lands, if it lands.
	partial *partial
}

func (r *receiver) close() {
	if r.plain != nil {
		r.plain.Close()
	}
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

// begin reads image.rt, which it puts into a file that create makes.
func (r *receiver) begin(ctx context.Context, create func() (*os.File, error)) (err error) {
	if r.plain, err = decompress(r.source); err != nil {
		return readError{err}
	}
	r.archive = tar.NewReader(r.plain)
	header, err := r.next()
	if err == io.EOF {
		return bad(ErrNotImage, "stream", "it is no archive that holds an %s", specs.ImageFile)
	}
	if err != nil {
		return err
	}
	return r.records(ctx, header, create)
}

// next gives the next entry, io.EOF at the end.
func (r *receiver) next() (*tar.Header, error) {
	header, err := r.archive.Next()
	if err != nil && err != io.EOF {
		return nil, readError{err}
	}
	return header, err
}

// rest takes the files behind image.rt.
func (r *receiver) rest(ctx context.Context) (Stats, error) {
	for {
		header, err := r.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return Stats{}, err
		}
		m, err := r.member(header)
		if err != nil {
			return Stats{}, err
		}
		if err := r.file(ctx, m); err != nil {
			return Stats{}, err
		}
	}
	if err := r.atEnd(); err != nil {
		return Stats{}, err
	}
	return r.commit(ctx)
}

// member finds the file of an entry among those that have not come yet.
func (r *receiver) member(header *tar.Header) (specs.Member, error) {
	if err := checkEntry(header); err != nil {
		return specs.Member{}, err
	}
	i := slices.IndexFunc(r.missing, func(m specs.Member) bool { return m.Name == header.Name })
	if i < 0 {
		return specs.Member{}, bad(ErrCorrupt, "stream", "the file %q is not part of the image, or came before", header.Name)
	}
	m := r.missing[i]
	r.missing = slices.Delete(r.missing, i, i+1)
	if header.Size != m.Size {
		return m, bad(ErrCorrupt, "stream", "the file %q has %d bytes and should have %d", m.Name, header.Size, m.Size)
	}
	return m, nil
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
func (r *receiver) records(ctx context.Context, header *tar.Header, create func() (*os.File, error)) error {
	if err := checkEntry(header); err != nil {
		return err
	}
	if header.Name != specs.ImageFile {
		return bad(ErrNotImage, "stream", "it begins with the file %q, not with %s", header.Name, specs.ImageFile)
	}
	if header.Size > maxRecords {
		return bad(ErrCorrupt, "stream", "%s of %d bytes", header.Name, header.Size)
	}
	// The first bytes are looked at before room is made for all the rest.
	begin := bufio.NewReaderSize(r.archive, 64<<10)
	magic, err := begin.Peek(min(specs.PrologueSize, int(header.Size)))
	if err != nil {
		return readError{err}
	}
	if len(magic) < len(specs.Magic) || string(magic[:len(specs.Magic)]) != specs.Magic {
		return bad(ErrNotImage, "stream", "%s begins with %q", header.Name, magic)
	}
	file, err := create()
	if err != nil {
		return err
	}
	defer file.Close()
	if err := fillFile(ctx, file, begin, specs.Member{Name: header.Name, Size: header.Size}); err != nil {
		return err
	}
	s, err := scan(file, header.Size, file.Name())
	if err != nil {
		return err
	}
	if r.contents, err = newContents(s); err == nil {
		r.missing = slices.Clone(r.contents.members)
	}
	return err
}

// file writes one file.
func (r *receiver) file(ctx context.Context, m specs.Member) error {
	file, err := r.partial.create(m.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	return fillFile(ctx, file, r.archive, m)
}

// fillFile writes a file. Its room is allocated first, where the filesystem can, so
// that a full disk shows at once.
func fillFile(ctx context.Context, file *os.File, from io.Reader, m specs.Member) error {
	if m.Size > 0 {
		err := retry(func() error { return unix.Fallocate(int(file.Fd()), 0, 0, m.Size) })
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
			return full(fmt.Errorf("%s: allocate %d bytes: %w", file.Name(), m.Size, err))
		}
	}
	return copyMember(ctx, file, from, m, file.Name())
}

// atEnd checks that all has come, and reads what follows the archive: some zeros at
// most. It also makes the decompressor compare its own checksum.
func (r *receiver) atEnd() error {
	if len(r.missing) > 0 {
		return bad(ErrTruncated, "stream", "it ends before %s", r.missing[0].Name)
	}
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(r.plain, most+1))
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
