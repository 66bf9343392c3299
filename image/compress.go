package image

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Compress returns a writer whose bytes go to w compressed, for who has entries of its
// own in front of an image's: WriteTo goes on behind them, with None. Close completes it, and
// leaves w open.
func Compress(w io.Writer, c Codec) (io.WriteCloser, error) {
	codec, err := c.find()
	if err != nil {
		return nil, err
	}
	return codec.write(w)
}

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
	if s.err != nil {
		return fmt.Errorf("the stream broke: %w", s.err)
	}
	kind := ErrCorrupt
	if errors.Is(err, io.ErrUnexpectedEOF) {
		kind = ErrTruncated
	}
	return &Error{Kind: kind, Path: "stream", Record: -1, Offset: -1, Err: err}
}
