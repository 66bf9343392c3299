package plugin

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/layer"
	"github.com/rethaw/rethaw/internal/pax"
)

// arrival is the prelude of an import, as far as it was read.
type arrival struct {
	origin Origin
	config []byte
	stream *pax.Stream
	// next is the entry at hand, read how many came before.
	next *pax.Entry
	read int64
}

// openPrelude reads the documents of the prelude of a stream; nil if it has none and begins
// with an image.
func openPrelude(r *bufio.Reader) (*arrival, error) {
	// An extended header, its records, then the header proper, which begins with the name.
	const block = 512
	begin, err := r.Peek(3 * block)
	if err != nil || begin[156] != 'x' || !strings.HasPrefix(string(begin[2*block:]), preludeOrigin+"\x00") {
		return nil, nil
	}
	a := &arrival{stream: pax.NewStream(r)}
	if err := a.documents(); err != nil {
		return nil, explainPrelude(err)
	}
	return a, nil
}

// explainPrelude gives errors of the archive the kind that they have for the user.
func explainPrelude(err error) error {
	var known *image.Error
	switch {
	case errors.As(err, &known) || errors.Is(err, image.ErrCorrupt):
		return err
	case errors.Is(err, pax.ErrTruncated) || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it ends before the image: %w", image.ErrTruncated, err)
	case errors.Is(err, pax.ErrFormat):
		return fmt.Errorf("%w: %w", image.ErrCorrupt, err)
	}
	return err
}

// advance goes to the next entry.
func (a *arrival) advance() error {
	if a.next != nil {
		a.read++
	}
	e, err := a.stream.Next()
	a.next = e
	return err
}

func (a *arrival) documents() error {
	if err := a.advance(); err != nil {
		return err
	}
	text, err := a.document()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &a.origin); err != nil {
		return corrupt("%s: %w", preludeOrigin, err)
	}
	switch o := &a.origin; {
	case o.Version != preludeVersion:
		return fmt.Errorf("%w: the export has the version %d and this rethaw knows %d: use the one that made it", image.ErrVersion, o.Version, preludeVersion)
	case !validID(o.called()) || strings.HasPrefix(o.called(), "-"):
		return corrupt("its container is called %.60q", o.called())
	}
	if err := a.advance(); err != nil {
		return err
	}
	if a.next.Name != preludeConfig {
		return nil
	}
	if a.config, err = a.document(); err != nil {
		return err
	}
	return a.advance()
}

// document reads the entry at hand as a small file.
func (a *arrival) document() ([]byte, error) {
	e := a.next
	if e.Type != pax.Regular || e.Sparse || e.Size > maxDocument {
		return nil, corrupt("%s is no plain file of at most %d bytes", e.Name, maxDocument)
	}
	b, err := io.ReadAll(a.stream.Data())
	if err == nil && int64(len(b)) < e.Size {
		err = pax.ErrTruncated
	}
	return b, err
}

// stage brings the rest of the prelude into the stages that find gives for the prefixes of entries,
// nil for what is not wanted, and sees that it is whole.
func (a *arrival) stage(find func(prefix, volume string) (*layer.Stage, error)) error {
	stages := map[string]*layer.Stage{}
	for {
		e := a.next
		if e.Name == preludeEnd {
			return explainPrelude(a.end())
		}
		prefix, volume, ok := volumeOf(e.Name)
		if e.Name == preludeRootfs || strings.HasPrefix(e.Name, preludeRootfs+"/") {
			prefix, volume, ok = preludeRootfs, "", true
		}
		if !ok {
			return corrupt("the entry %.200q is neither of a root filesystem nor of a volume", e.Name)
		}
		s, known := stages[prefix]
		if !known {
			var err error
			if s, err = find(prefix, volume); err != nil {
				return err
			}
			stages[prefix] = s
		}
		if s != nil {
			if err := s.Add(e, prefix, a.stream.Data()); err != nil {
				return explainPrelude(err)
			}
		}
		if err := a.advance(); err != nil {
			return explainPrelude(err)
		}
	}
}

// skipPrelude reads the prelude of a stream, if it has one, sees that it is whole, and leaves all as it is.
func skipPrelude(r *bufio.Reader) error {
	a, err := openPrelude(r)
	if a == nil || err != nil {
		return err
	}
	return a.stage(func(string, string) (*layer.Stage, error) { return nil, nil })
}

// end compares the digest.
func (a *arrival) end() error {
	text, err := a.document()
	if err != nil {
		return err
	}
	var want preludeSum
	if err := json.Unmarshal(text, &want); err != nil {
		return corrupt("%s: %w", preludeEnd, err)
	}
	sum := a.stream.Before()
	if got := hex.EncodeToString(sum[:]); want.Entries != a.read || want.XXH3 != got {
		return corrupt("%d entries with the XXH3 %s came before the image, and %d with %.60q were sent", a.read, got, want.Entries, want.XXH3)
	}
	return a.stream.Finish()
}
