package tty

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/rethaw/rethaw/internal/kmem"
	"golang.org/x/sys/unix"
)

// ErrEcho tells that characters wait to be echoed.
var ErrEcho = errors.New("echo waits to be shown")

// bufferSize is N_TTY_BUF_SIZE.
const bufferSize = 4096

// Peek reads what waits in a pair from the kernel's memory: nothing is taken, and
// flow control shows too, which no call tells. All who use the pair must be stopped.
func Peek(k *kmem.Reader, master *os.File) (Queues, error) {
	// What was written last may still be on its way to the line discipline, and no
	// lock is held: it has to look the same twice.
	var before *Queues
	for range 100 {
		q, err := peekOnce(k, master)
		switch {
		case errors.Is(err, kmem.ErrMoving):
			before = nil
		case err != nil:
			return Queues{}, err
		case before != nil && reflect.DeepEqual(*before, q):
			return q, nil
		default:
			before = &q
			continue
		}
		time.Sleep(time.Millisecond)
	}
	return Queues{}, fmt.Errorf("look into terminal: %w", kmem.ErrMoving)
}

// peekOnce looks without regard to what changes meanwhile.
func peekOnce(k *kmem.Reader, master *os.File) (Queues, error) {
	p := peeker{k: k}
	m := p.follow(0, func() (uint64, error) { return k.Private(int(master.Fd())) })
	m = p.at(m, "tty_file_private.tty")
	s := p.at(m, "tty_struct.link")
	if p.err == nil && s == 0 {
		return Queues{}, fmt.Errorf("look into terminal: %w", os.ErrClosed)
	}
	var q Queues
	late, printed := p.pending(m), p.discipline(m)
	q.Output = append(printed.bytes(printed.tail, printed.head), late...)
	q.Typed = p.pending(s)
	typed := p.discipline(s)
	lflag := p.flag(s, "tty_struct.termios.c_lflag")
	if lines := lflag&unix.ICANON != 0 && lflag&unix.EXTPROC == 0; !lines {
		q.Rest = typed.bytes(typed.tail, typed.head)
	} else if typed.canon-typed.tail <= typed.head-typed.tail {
		q.Lines, q.Rest = typed.split()
	} else if p.err == nil {
		p.err = kmem.ErrMoving
	}
	q.Next = typed.next
	q.Suspended = p.byte(s, "tty_struct.flow.tco_stopped&") != 0
	q.Stopped = p.byte(s, "tty_struct.flow.stopped&") != 0 && !q.Suspended
	if p.err != nil {
		return Queues{}, fmt.Errorf("look into terminal: %w", p.err)
	}
	if len(late) > 0 && !printed.full() || len(q.Typed) > 0 && !typed.full() {
		return Queues{}, kmem.ErrMoving
	}
	if p.byte(m, "tty_struct.ctrl.packet&") != 0 && p.byte(s, "tty_struct.ctrl.pktstatus&") != 0 {
		return Queues{}, ErrTelling
	}
	if typed.echoes {
		return Queues{}, ErrEcho
	}
	// A structure that is not what we take it for shows here.
	if n, err := waiting(master); err == nil && n != int(printed.head-printed.tail) {
		return Queues{}, fmt.Errorf("look into terminal: %w: %d bytes wait, %d are seen", kmem.ErrMoving, n, printed.head-printed.tail)
	}
	return q, p.err
}

// peeker reads structures and keeps the first error.
type peeker struct {
	k   *kmem.Reader
	err error
}

func (p *peeker) follow(zero uint64, f func() (uint64, error)) uint64 {
	if p.err != nil {
		return zero
	}
	var v uint64
	v, p.err = f()
	return v
}

func (p *peeker) at(addr uint64, field string) uint64 {
	return p.follow(0, func() (uint64, error) { return p.k.Follow(addr, field) })
}

func (p *peeker) flag(addr uint64, field string) uint32 {
	at := p.at(addr, field+"&")
	return uint32(p.follow(0, func() (uint64, error) { v, err := p.k.Half(at); return uint64(v), err }))
}

func (p *peeker) bytes(addr uint64, n int) []byte {
	if p.err != nil {
		return nil
	}
	var b []byte
	b, p.err = p.k.Bytes(addr, n)
	return b
}

func (p *peeker) byte(addr uint64, field string) byte {
	if b := p.bytes(p.at(addr, field), 1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// buffer is the input side of a line discipline (struct n_tty_data). Its numbers
// count all bytes that ever were there.
type buffer struct {
	data              []byte
	ends              []byte // a bit for each byte of data
	tail, canon, head uint64
	// next tells that the next character is taken literally, echoes that some wait
	// to be shown.
	next, echoes bool
}

func (p *peeker) discipline(tty uint64) buffer {
	n := p.at(tty, "tty_struct.disc_data")
	b := buffer{
		tail: p.at(n, "n_tty_data.read_tail"), canon: p.at(n, "n_tty_data.canon_head"), head: p.at(n, "n_tty_data.read_head"),
		data: p.bytes(p.at(n, "n_tty_data.read_buf&"), bufferSize),
		ends: p.bytes(p.at(n, "n_tty_data.read_flags&"), bufferSize/8),
		// The first of the bits that begin with lnext.
		next:   p.byte(n, "n_tty_data.lnext&")&1 != 0,
		echoes: p.at(n, "n_tty_data.echo_head") != p.at(n, "n_tty_data.echo_tail"),
	}
	if p.err == nil && b.head-b.tail > bufferSize {
		p.err = kmem.ErrMoving
	}
	return b
}

// full tells that nothing more is taken in.
func (b *buffer) full() bool { return b.head-b.tail >= most }

// bytes are those from one number to another.
func (b *buffer) bytes(from, to uint64) []byte {
	var out []byte
	for ; from != to && len(b.data) == bufferSize; from++ {
		out = append(out, b.data[from%bufferSize])
	}
	return out
}

// split cuts what waits into lines, as a read would.
func (b *buffer) split() (lines [][]byte, rest []byte) {
	from := b.tail
	for i := b.tail; i != b.canon && len(b.ends) == bufferSize/8; i++ {
		at := i % bufferSize
		if b.ends[at/8]&(1<<(at%8)) == 0 {
			continue
		}
		end := i + 1
		if b.data[at] == 0 {
			end = i // an end of file is marked by __DISABLED_CHAR
		}
		lines, from = append(lines, b.bytes(from, end)), i+1
	}
	return lines, b.bytes(from, b.head)
}

// pending gives what has not come to the line discipline, which is full (struct
// tty_buffer).
func (p *peeker) pending(tty uint64) []byte {
	var all []byte
	b := p.at(p.at(tty, "tty_struct.port"), "tty_port.buf.head")
	for range 1 << 10 {
		if p.err != nil || b == 0 {
			return all
		}
		read, commit := p.flag(b, "tty_buffer.read"), p.flag(b, "tty_buffer.commit")
		if commit > read {
			all = append(all, p.bytes(p.at(b, "tty_buffer.data&")+uint64(read), int(commit-read))...)
		}
		b = p.at(b, "tty_buffer.next")
	}
	p.err = errors.Join(p.err, kmem.ErrMoving)
	return nil
}
