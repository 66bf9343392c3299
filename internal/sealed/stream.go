package sealed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// What can be wrong with an encrypted stream.
var (
	// ErrLocked is a stream that none of the identities opens.
	ErrLocked = errors.New("encrypted")
	// ErrPlain is a stream that should be encrypted and is not.
	ErrPlain = errors.New("not encrypted")
	// ErrForged is a stream that is not as it was written.
	ErrForged = errors.New("the encrypted stream was changed or cut off")
)

// intro begins every stream of age.
const intro = "age-encryption.org/v1\n"

// Encrypt returns a writer whose bytes go encrypted to w. They are complete when it is
// closed, which leaves w open.
func Encrypt(w io.Writer, to []Recipient) (io.WriteCloser, error) {
	sealed, err := age.Encrypt(w, to...)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed, nil
}

// Decrypt returns the plain bytes of a stream, which without identities must not be encrypted and
// with some must be: who has an identity expects that nobody but its makers and readers have seen the
// stream, and a plain one in its place is none of theirs. Errors are ErrLocked, ErrPlain, ErrForged,
// or those of from.
func Decrypt(from io.Reader, with []Identity) (io.Reader, error) {
	below := &source{Reader: from}
	begin := bufio.NewReaderSize(below, 64<<10)
	found, err := IsSealed(begin)
	switch {
	case err != nil:
		return nil, err
	case !found && len(with) > 0:
		return nil, fmt.Errorf("%w, though an identity was given: without it a plain one is taken", ErrPlain)
	case !found:
		return begin, nil
	case len(with) == 0:
		return nil, fmt.Errorf("%w: name the key that opens it with --identity", ErrLocked)
	}
	plain, err := age.Decrypt(begin, with...)
	var none *age.NoIdentityMatchError
	switch {
	case below.err != nil:
		return nil, below.err
	case errors.As(err, &none):
		return nil, fmt.Errorf("%w to others: no identity given fits", ErrLocked)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrForged, err)
	}
	return &opened{plain, below}, nil
}

// IsSealed looks at the beginning of a stream.
func IsSealed(begin *bufio.Reader) (bool, error) {
	b, err := begin.Peek(len(intro))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.Equal(b, []byte(intro)), nil
}

// source remembers the error of what is read, so that it is not taken for forgery.
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

// opened is the plain text.
type opened struct {
	plain io.Reader
	below *source
}

func (o *opened) Read(b []byte) (int, error) {
	n, err := o.plain.Read(b)
	switch {
	case err == nil || err == io.EOF:
	case o.below.err != nil:
		err = o.below.err
	default:
		err = fmt.Errorf("%w: %w", ErrForged, err)
	}
	return n, err
}
