package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/rethaw/rethaw/internal/sealed"
)

// Compress returns a writer whose bytes go to w compressed and then encrypted to the
// recipients, if there are any, for who has entries of its own in front of an image's:
// WriteTo or CreateStream go on behind them, with None. Close completes it, and leaves w open.
func Compress(w io.Writer, c Codec, to []sealed.Recipient) (*Compressor, error) {
	codec, err := c.find()
	if err != nil {
		return nil, err
	}
	z := &Compressor{}
	if len(to) > 0 {
		cipher, err := sealed.Encrypt(w, to)
		if err != nil {
			return nil, err
		}
		z.cipher, w = cipher, cipher
	}
	if z.WriteCloser, err = codec.write(w); err != nil {
		return nil, err
	}
	return z, nil
}

// Compressor writes a compressed stream, which may be encrypted.
type Compressor struct {
	io.WriteCloser
	// cipher is nil for a plain one.
	cipher io.Closer
}

// Close completes the stream.
func (z *Compressor) Close() error {
	if err := z.WriteCloser.Close(); err != nil || z.cipher == nil {
		return err
	}
	return z.cipher.Close()
}

// Abort gives back what the compressor has. An encrypted stream lacks its end then, by which
// it is found cut off.
func (z *Compressor) Abort() { _ = z.WriteCloser.Close() }

// Decompress returns a reader of a stream, however it is compressed. Who has read the entries
// in front of an image's from it has Receive go on behind them.
func Decompress(from io.Reader) (*bufio.Reader, io.Closer, error) {
	s := &source{Reader: from}
	plain, err := decompress(s)
	if err != nil {
		return nil, nil, explainStream(s, err)
	}
	return bufio.NewReaderSize(&explained{plain, s}, 256<<10), plain, nil
}

// explained gives errors of a decompressor the kind that they have for the user.
type explained struct {
	io.Reader
	source *source
}

func (e *explained) Read(b []byte) (int, error) {
	n, err := e.Reader.Read(b)
	if err != nil && err != io.EOF {
		err = explainStream(e.source, err)
	}
	return n, err
}

// explainStream tells a broken connection from a broken stream.
func explainStream(s *source, err error) error {
	if errors.Is(s.err, sealed.ErrForged) {
		return s.err
	}
	if s.err != nil {
		return fmt.Errorf("the stream broke: %w", s.err)
	}
	kind := ErrCorrupt
	if errors.Is(err, io.ErrUnexpectedEOF) {
		kind = ErrTruncated
	}
	return &Error{Kind: kind, Path: "stream", Record: -1, Offset: -1, Err: err}
}
