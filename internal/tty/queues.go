package tty

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Queues are what waits in a pair.
type Queues struct {
	// Lines and Rest wait for the reader of the slave: in canonical mode complete
	// lines, without the characters that ended them as an end of file, and what
	// was typed after them; in raw mode all is Rest. Output waits for the reader
	// of the master.
	Lines        [][]byte
	Rest, Output []byte
	// Typed has not come to the line discipline yet, for which there was no room.
	Typed []byte
	// Next tells that the next character is to be taken literally (VLNEXT).
	Next bool
	// Stopped tells that output was stopped by VSTOP, Suspended that it was by
	// TCOOFF (tcflow(3)).
	Stopped, Suspended bool
}

// Empty tells whether nothing waits.
func (q *Queues) Empty() bool { return len(q.Lines)+len(q.Rest)+len(q.Output)+len(q.Typed) == 0 }

// Errors of Take: nothing was touched.
var (
	ErrStopped = errors.New("output is stopped (Ctrl-S)")
	ErrFull    = errors.New("more input waits than can be put back")
	ErrTelling = errors.New("packet mode has news that were not read")
)

// most is how much input can be put back: the line discipline holds a byte less
// than N_TTY_BUF_SIZE, and if it is full more may wait before it.
const most = 4095

// settling is how long output may take from one end to the other.
const settling = time.Second

// Take is for kernels whose memory cannot be read (Peek): it reads what waits in a
// pair and puts it back at once. All who use the pair must be stopped. Between
// the reading and the writing, some ten microseconds and some more for each
// byte of input, the bytes are in our hands alone: only then, and only if we were killed
// by SIGKILL, they would be lost. A pair without anything in it is never at such
// risk, but for its ICANON, which is off for a moment to see the line that is being
// typed.
//
// Input is put back by TIOCSTI (which needs CAP_SYS_ADMIN), one byte after the
// other: unlike a write to the master this is done when the call returns. The
// slave must have been open at some time.
func Take(master *os.File) (q Queues, err error) {
	slave, err := Peer(master)
	if err != nil {
		return q, err
	}
	defer slave.Close()
	was, err := termios(slave)
	if err != nil {
		return q, err
	}
	packet, err := Packet(master)
	if err != nil {
		return q, err
	}
	if packet {
		if news, err := Telling(master); err != nil || news {
			return q, errors.Join(err, ErrTelling)
		}
		// Its first byte is not data; and our changes of settings are no news.
		if err := SetPacket(master, false); err != nil {
			return q, err
		}
		defer func() { err = errors.Join(err, SetPacket(master, true)) }()
	}
	defer func() { err = errors.Join(err, setTermios(slave, was)) }()
	if err := takeOutput(master, slave, was, &q); err != nil {
		return q, err
	}
	return q, takeInput(slave, was, &q)
}

// takeOutput reads what the master would and prints it again.
func takeOutput(master, slave *os.File, was *unix.Termios, q *Queues) error {
	events, err := ready(master, unix.POLLIN)
	if err != nil {
		return err
	}
	if events&unix.POLLIN == 0 {
		// With nothing under way only a stop can keep the slave from writing.
		events, err := ready(slave, unix.POLLOUT)
		if err == nil && events&unix.POLLOUT == 0 {
			err = ErrStopped
		}
		return err
	}
	if events, err := ready(slave, unix.POLLOUT); err != nil || events&unix.POLLOUT == 0 {
		return errors.Join(err, fmt.Errorf("%w, or its reader has fallen far behind", ErrStopped))
	}
	plain := quiet(was, false)
	if err := setTermios(slave, &plain); err != nil {
		return err
	}
	for events&unix.POLLIN != 0 && err == nil {
		q.Output, err = appendRead(q.Output, master)
		if err == nil {
			events, err = ready(master, unix.POLLIN)
		}
	}
	return errors.Join(err, printAgain(slave, q.Output))
}

// appendRead makes one read(2).
func appendRead(b []byte, f *os.File) ([]byte, error) {
	b = slices.Grow(b, most+1)
	n, err := unix.Read(int(f.Fd()), b[len(b):cap(b)])
	if err != nil {
		return b, err
	}
	return b[:len(b)+n], nil
}

// printAgain writes to a slave that does not wait, and waits for room.
func printAgain(slave *os.File, b []byte) error {
	for deadline := time.Now().Add(settling); len(b) > 0; {
		n, err := unix.Write(int(slave.Fd()), b)
		if n > 0 {
			b = b[n:]
		}
		if err == nil || errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(deadline) {
			return fmt.Errorf("put %d bytes of output back: %w", len(b), err)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// takeInput reads what the slave would and types it again.
func takeInput(slave *os.File, was *unix.Termios, q *Queues) error {
	events, err := ready(slave, unix.POLLIN)
	if err != nil {
		return err
	}
	n, err := waiting(slave)
	if err != nil {
		return err
	}
	if n >= most {
		return ErrFull
	}
	if canonical(was) {
		for events&unix.POLLIN != 0 && err == nil {
			var line []byte
			if line, err = appendRead(nil, slave); err == nil {
				q.Lines = append(q.Lines, line)
				events, err = ready(slave, unix.POLLIN)
			}
		}
	}
	// The line that is being typed can be seen in raw mode only, and in raw mode
	// reads must not wait for VMIN.
	if canonical(was) || n > 0 {
		plain := quiet(was, true)
		if err == nil {
			err = setTermios(slave, &plain)
		}
		if err == nil {
			n, err = waiting(slave)
		}
		if err == nil && n > 0 {
			q.Rest, err = appendRead(nil, slave)
		}
	}
	if len(q.Lines) == 0 && len(q.Rest) == 0 {
		return err
	}
	return errors.Join(err, typeAgain(slave, was, q))
}

// Fill puts into a pair what Take found, and sets the settings; both queues must
// be empty.
func Fill(master, slave *os.File, s Settings, q Queues) error {
	var t unix.Termios
	if err := decode(s.Termios, &t); err != nil {
		return fmt.Errorf("settings of terminal: %w", err)
	}
	if len(q.Output) > 0 {
		plain := quiet(&t, false)
		if err := setTermios(slave, &plain); err != nil {
			return err
		}
		if err := printAgain(slave, q.Output); err != nil {
			return err
		}
	}
	if len(q.Lines)+len(q.Rest) > 0 || q.Next {
		if err := typeAgain(slave, &t, &q); err != nil {
			return err
		}
	}
	if q.Stopped {
		// Turning IXON off would let it go on: it has to be on in the end too.
		plain := quiet(&t, false)
		plain.Iflag |= unix.IXON
		plain.Cc[unix.VSTOP] = 'S' - '@'
		if err := setTermios(slave, &plain); err != nil {
			return err
		}
		if err := push(slave, plain.Cc[unix.VSTOP:unix.VSTOP+1]); err != nil {
			return err
		}
	}
	if q.Suspended {
		if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
			return fmt.Errorf("suspend output: %w", err)
		}
	}
	if err := Set(slave, s); err != nil {
		return err
	}
	if len(q.Typed) == 0 {
		return nil
	}
	// This is still to be processed, by the settings that count then.
	if n, err := unix.Write(int(master.Fd()), q.Typed); n != len(q.Typed) {
		return fmt.Errorf("type %d bytes: %d fit: %w", len(q.Typed), n, err)
	}
	return nil
}

// typeAgain types lines and the rest. In canonical mode every byte is preceded by
// the character that takes its meaning from it (VLNEXT), but for those that end a
// line.
func typeAgain(slave *os.File, t *unix.Termios, q *Queues) error {
	plain := quiet(t, false)
	if !canonical(t) {
		if err := setTermios(slave, &plain); err != nil {
			return err
		}
		return push(slave, q.Rest)
	}
	keys := chooseKeys(t)
	keys.apply(&plain)
	if err := setTermios(slave, &plain); err != nil {
		return err
	}
	for _, line := range q.Lines {
		if err := push(slave, keys.line(line)); err != nil {
			return err
		}
	}
	typed := keys.literal(q.Rest)
	if q.Next {
		typed = append(typed, keys.next)
	}
	return push(slave, typed)
}

// push has the terminal receive bytes as if they were typed.
func push(slave *os.File, b []byte) error {
	for i := range b {
		if err := ioctl(slave, unix.TIOCSTI, unsafe.Pointer(&b[i])); err != nil {
			return fmt.Errorf("put %d bytes of input back: %w", len(b)-i, err)
		}
	}
	return nil
}
