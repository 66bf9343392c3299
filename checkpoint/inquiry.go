package checkpoint

import (
	"encoding/binary"
	"errors"

	"github.com/rethaw/rethaw/internal/inject"
)

// inquiry is a batch of questions to a stopped thread: system calls that write
// their answers into the arena.
type inquiry struct {
	session *inject.Session
	calls   []inject.Call
	answers []answer
	room    []byte
	at      uint64
	// err is the first error of a run that a full arena brought about.
	err error
}

func newInquiry(s *inject.Session) *inquiry {
	q := &inquiry{session: s}
	q.room, q.at = s.Data()
	return q
}

// answer takes the result of one call, and the bytes that it wrote.
type answer struct {
	call  int
	bytes []byte
	take  func(ret int64, b []byte)
}

// out marks the argument that is replaced by the address of the answer.
const out = ^uint64(0) - 1

// out8 is the place 8 bytes behind it.
const out8 = ^uint64(0) - 2

// ask adds a question whose answer has size bytes.
func (q *inquiry) ask(size int, take func(ret int64, b []byte), nr uint64, args ...uint64) {
	if len(q.room) < size+8 {
		q.err = errors.Join(q.err, q.run())
	}
	c := inject.Call{Nr: nr}
	b := q.room[:size:size]
	for i, a := range args {
		switch a {
		case out:
			a = q.at
		case out8:
			a = q.at + 8
		}
		c.Args[i] = a
	}
	size = (size + 7) &^ 7
	q.room, q.at = q.room[size:], q.at+uint64(size)
	q.answers = append(q.answers, answer{len(q.calls), b, take})
	q.calls = append(q.calls, c)
}

// run has the questions answered.
func (q *inquiry) run() error {
	if q.err != nil {
		return q.err
	}
	if err := q.session.Run(q.calls); err != nil {
		return err
	}
	for _, a := range q.answers {
		a.take(q.calls[a.call].Ret, a.bytes)
	}
	q.calls, q.answers = nil, nil
	q.room, q.at = q.session.Data()
	return nil
}

func word(b []byte) uint64   { return binary.LittleEndian.Uint64(b) }
func word32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
