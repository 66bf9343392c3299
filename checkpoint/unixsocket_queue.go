package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/descriptors"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// queueReader reads the queue of a socket and leaves it as it is, by MSG_PEEK.
// SO_PEEK_OFF leads past the first message, and past a piece of a stream
// that descriptors came with, where the kernel ends each read. The option is put
// back at the end, by the watchdog if we die in between.
type queueReader struct {
	d     *dump
	f     *openFile
	fd    int
	kind  int32
	buf   []byte
	queue []specs.Message
	// at is how many bytes of the queue are read, total how many there are
	// (not known of datagrams).
	at, total int
	// senders are the pids of senders, by the host's numbers.
	senders map[int32]int32
}

// queueChunk is more than the kernel puts into one piece of a stream
// (net/unix/af_unix.c, UNIX_SKB_FRAGS_SZ and SKB_MAX_ALLOC).
const queueChunk = 1 << 19

// readQueue reads all that was received and not yet read.
func (d *dump) readQueue(f *openFile, info *socketInfo, s *specs.UnixSocket) ([]specs.Message, error) {
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	r := &queueReader{d: d, f: f, fd: int(own.Fd()), kind: s.Kind}
	stream := s.Kind == unix.SOCK_STREAM
	if s.State == "unconnected" && s.Kind != unix.SOCK_DGRAM {
		return nil, nil
	}
	if r.total, err = unix.IoctlGetInt(r.fd, unix.SIOCINQ); err != nil {
		return nil, os.NewSyscallError("ioctl(SIOCINQ)", err)
	}
	if stream && r.total == 0 || s.Kind != unix.SOCK_DGRAM && r.total == 0 && s.Shutdown&1 != 0 {
		return nil, nil
	}
	if s.Reset && !stream {
		// The first read, be it a peek, would take the error away.
		if r.total == 0 {
			return nil, nil
		}
		return nil, f.unsupported("an error (connection reset) waits before its queued messages", "let the program read from it")
	}
	if s.Kind == unix.SOCK_DGRAM && events(r.fd)&unix.POLLIN == 0 {
		return nil, nil
	}
	r.buf = make([]byte, max(min(r.total, queueChunk), 4096))
	forget, err := d.guard(r.fd, watchdog.Option{Level: unix.SOL_SOCKET, Name: unix.SO_PEEK_OFF, Value: int(s.PeekOff) - 1})
	if err != nil {
		return nil, err
	}
	if err := r.seek(0); err != nil {
		return nil, errors.Join(err, forget())
	}
	if stream {
		err = r.readStream()
	} else {
		err = r.readMessages(s.Kind == unix.SOCK_SEQPACKET && s.Shutdown&1 != 0)
		if k, kerr := d.kernelMemory(); err == nil && kerr == nil {
			r.queue, err = (&pendingReader{d: d, k: k}).withEmpty(r.fd, r.queue)
		}
	}
	return r.queue, errors.Join(err, r.seek(int(s.PeekOff)-1), forget())
}

func (r *queueReader) seek(off int) error {
	return os.NewSyscallError("setsockopt(SO_PEEK_OFF)", unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, off))
}

// peek reads at r.at.
func (r *queueReader) peek(buf []byte) (*afunix.Message, error) {
	for {
		m, err := afunix.Peek(r.fd, buf)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case m.Cut:
			m.Close()
			return nil, fmt.Errorf("descriptors in flight did not all arrive: %w", unix.EMFILE)
		default:
			return m, nil
		}
	}
}

// add puts a message into the record, with descriptors and credentials.
func (r *queueReader) add(m *afunix.Message) error {
	msg := specs.Message{Data: bytes.Clone(m.Data), From: m.Name}
	if r.kind != unix.SOCK_DGRAM {
		msg.From = nil
	}
	if m.Creds != nil && (m.Creds.Pid != 0 || m.Creds.Uid != overflowID) {
		pid, err := r.sender(m.Creds.Pid)
		if err != nil {
			m.Close()
			return err
		}
		msg.Creds = []uint32{uint32(pid), m.Creds.Uid, m.Creds.Gid}
	}
	var err error
	if len(m.Files) > 0 {
		msg.Files, err = r.d.inFlight(r.f, m.Files)
		m.Files = nil
	}
	r.queue = append(r.queue, msg)
	return err
}

// sender turns the host's pid of a sender into the tree's. Of one that is dead
// only the kernel knows what it was there.
func (r *queueReader) sender(host int32) (int32, error) {
	if pid, ok := r.d.living(int(host)); ok || host == 0 {
		return pid, nil
	}
	if r.senders == nil {
		k, err := r.d.kernelMemory()
		if err != nil {
			return 0, r.f.unsupported("its queue has credentials of a process that is dead or outside, which this kernel does not show ("+err.Error()+")",
				"let the program read from it")
		}
		if r.senders, err = (&pendingReader{d: r.d, k: k}).senders(r.fd); err != nil {
			return 0, err
		}
	}
	return r.senders[host], nil
}

// overflowID stands for ids that were not sent.
const overflowID = 65534

// readMessages reads datagrams or packets. At the end of a shut down packet
// socket the kernel gives empty messages for ever: ending tells that.
func (r *queueReader) readMessages(ending bool) error {
	for {
		if ending && r.at >= r.total {
			return nil
		}
		m, err := r.peek(r.buf)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.Length > len(m.Data) {
			m.Close()
			r.buf = make([]byte, m.Length)
			if err := r.seek(r.at); err != nil {
				return err
			}
			continue
		}
		r.at += m.Length
		if err := r.add(m); err != nil {
			return err
		}
	}
}

// readStream reads the bytes of a stream. A piece that descriptors came with
// stands as a message of its own, from its first byte: the kernel hands the
// descriptors over with that one.
func (r *queueReader) readStream() error {
	for r.at < r.total {
		m, err := r.peek(r.buf[:min(len(r.buf), r.total-r.at)])
		if err != nil {
			return err
		}
		if m.Length == 0 {
			return fmt.Errorf("queue ends after %d of %d bytes", r.at, r.total)
		}
		if len(m.Files) == 0 {
			r.at += m.Length
			if err := r.add(m); err != nil {
				return err
			}
			continue
		}
		// What was read ends with the piece that the descriptors came with, or
		// right before it if there was no room left.
		before, err := r.lastPiece(m.Length)
		if err != nil {
			m.Close()
			return err
		}
		if before > 0 {
			m.Close()
			m = &afunix.Message{Data: m.Data[:before], Creds: m.Creds, Length: before}
		}
		r.at += m.Length
		if err := r.add(m); err != nil {
			return err
		}
		if err := r.seek(r.at); err != nil {
			return err
		}
	}
	return nil
}

// lastPiece tells how many bytes come before the last piece of a read of n bytes
// from r.at on.
func (r *queueReader) lastPiece(n int) (int, error) {
	if err := r.seek(r.at); err != nil {
		return 0, err
	}
	return afunix.Begin(r.fd, n)
}

// inFlight numbers descriptions that descriptors of ours lead to, which came out
// of a queue: some that tasks have too, and others that exist in flight only and
// are saved after this.
func (d *dump) inFlight(f *openFile, fds []int) ([]specs.ID, error) {
	us := &process{pid: os.Getpid(), at: os.Getpid(), nspid: f.proc.nspid, stat: f.proc.stat}
	ids := make([]specs.ID, 0, len(fds))
	for i, fd := range fds {
		g, err := d.look(us, fd)
		if err != nil {
			for _, rest := range fds[i:] {
				_ = unix.Close(rest)
			}
			return nil, fmt.Errorf("descriptor in flight: %w", err)
		}
		g.own, g.flight = descriptors.NewFD(fd), true
		found := d.files.find(g)
		if found != g {
			g.own.Close()
		}
		ids = append(ids, found.id)
	}
	return ids, nil
}
