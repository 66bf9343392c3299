package restore

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/inet"
	"golang.org/x/sys/unix"
)

func (s *inetSocket) recvData() []byte {
	if s.rec.TCP == nil {
		return nil
	}
	return s.rec.TCP.RecvData
}

// sent and unsent are the parts of the send queue.
func (s *inetSocket) sent() []byte {
	t := s.rec.TCP
	return t.SendData[:len(t.SendData)-int(min(t.Unsent, uint32(len(t.SendData))))]
}

func (s *inetSocket) unsent() []byte { return s.rec.TCP.SendData[len(s.sent()):] }

// number finds out the sequence numbers at which the queues begin.
func (s *inetSocket) number() {
	t := s.rec.TCP
	s.sendFrom = t.SendSeq - uint32(len(t.SendData))
	s.recvFrom = t.RecvSeq - uint32(len(t.RecvData))
}

// join connects a socket in repair mode: it is connected from one moment to the
// next, and no packet is sent.
func (s *inetSocket) join(remote []byte, options [][2]uint32) error {
	steps := []struct {
		what string
		do   func() error
	}{
		{"choose receive queue", func() error { return inet.Queue(s.fd, inet.RecvQueue) }},
		{"set sequence number", func() error { return inet.SetSeq(s.fd, s.recvFrom) }},
		{"choose send queue", func() error { return inet.Queue(s.fd, inet.SendQueue) }},
		{"set sequence number", func() error { return inet.SetSeq(s.fd, s.sendFrom) }},
		{"choose no queue", func() error { return inet.Queue(s.fd, inet.NoQueue) }},
		{"set segment size", s.wishMSS},
		{fmt.Sprintf("connect to %v", inet.AddrPort(remote)), func() error { return s.connect(remote) }},
		{"set negotiated options", func() error { return inet.SetOptions(s.fd, options) }},
		{"reset segment size", func() error { return inet.SetInt(s.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 0) }},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// connect connects a socket in repair mode, whatever the kernel may have left of the
// connection when its tasks were killed.
func (s *inetSocket) connect(remote []byte) error {
	err := inet.Connect(s.fd, remote)
	if !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	if err := sweep(inet.AddrPort(s.rec.Local).Port()); err != nil {
		return err
	}
	return inet.Connect(s.fd, remote)
}

// maxWish is the most that TCP_MAXSEG takes (MAX_TCP_WINDOW).
const maxWish = 32767

// wishMSS chooses the size of segments. Repair mode leaves it at the least that
// there is, whatever the peer takes; but it is computed when the connection is
// made, and heeds the program's own wish (net/ipv4/tcp_output.c,
// tcp_connect_init), which is taken back afterwards. It must not be larger than
// it was: a sender waits for a window of one segment, and a receiver opens it by half.
func (s *inetSocket) wishMSS() error {
	t := s.rec.TCP
	if t == nil || t.SendMSS == 0 {
		return nil
	}
	wish := t.SendMSS
	if inet.Stamped(t.Options) {
		wish += timestampSize
	}
	return inet.SetInt(s.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, int(min(wish, maxWish)))
}

// timestampSize is what timestamps take of a segment.
const timestampSize = 12

// establish makes the connection of the record, with its queues.
func (s *inetSocket) establish() error {
	t := s.rec.TCP
	if err := s.join(s.rec.Remote, t.Options); err != nil {
		return err
	}
	if t.Timestamp != 0 {
		if err := inet.SetInt(s.fd, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP, int(int32(t.Timestamp))); err != nil {
			return fmt.Errorf("set timestamp: %w", err)
		}
	}
	if err := s.options(inet.Normal); err != nil {
		return err
	}
	if err := s.fill(inet.RecvQueue, t.RecvData); err != nil {
		return err
	}
	if err := s.fill(inet.SendQueue, s.sent()); err != nil {
		return err
	}
	if len(t.Window) > 0 {
		if err := inet.SetWindow(s.fd, t.Window, s.recvFrom+uint32(len(t.RecvData))); err != nil {
			return fmt.Errorf("set windows: %w", err)
		}
	}
	return s.limit()
}

// fill writes into a queue of a connection in repair mode.
func (s *inetSocket) fill(queue int, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	b := sendBuffer()
	if queue == inet.RecvQueue {
		b = recvBuffer()
	}
	if err := s.roomFor(b, len(data)); err != nil {
		return err
	}
	if err := inet.Queue(s.fd, queue); err != nil {
		return fmt.Errorf("choose queue %d: %w", queue, err)
	}
	if err := s.write(data); err != nil {
		return fmt.Errorf("fill queue %d: %w", queue, err)
	}
	return inet.Queue(s.fd, inet.NoQueue)
}

// buffer is one of the two buffers of a socket by the options that tell and force
// its size.
type buffer struct{ get, force int }

func recvBuffer() buffer { return buffer{unix.SO_RCVBUF, unix.SO_RCVBUFFORCE} }
func sendBuffer() buffer { return buffer{unix.SO_SNDBUF, unix.SO_SNDBUFFORCE} }

// roomFor makes a buffer large enough for n bytes, whatever the kernel needs
// besides.
func (s *inetSocket) roomFor(b buffer, n int) error {
	now, err := inet.Int(s.fd, unix.SOL_SOCKET, b.get)
	if err != nil {
		return err
	}
	if want := 4*n + 1<<16; now < want {
		if err := inet.SetInt(s.fd, unix.SOL_SOCKET, b.force, want/2); err != nil {
			return fmt.Errorf("make room of %d bytes: %w", want, err)
		}
	}
	return nil
}

// limit gives the receive buffer its size again: what the peer has still to send
// shall find the room that it would have found.
func (s *inetSocket) limit() error {
	size := s.option(unix.SOL_SOCKET, unix.SO_RCVBUF)
	if size == 0 {
		return nil
	}
	return inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, (size+1)/2)
}

// write writes all of data, in pieces that the kernel finds memory for. They are
// small since a reader makes room piece by piece, and the window with it.
func (s *inetSocket) write(data []byte) error {
	piece := 1 << 14
	for len(data) > 0 {
		n, err := unix.SendmsgN(s.fd, data[:min(piece, len(data))], nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.ENOMEM) && piece > 1024:
			piece /= 2
			continue
		case err != nil:
			return fmt.Errorf("%d bytes left: %w", len(data), err)
		}
		data = data[n:]
	}
	return nil
}

// sendRest hands over what was never sent, and ends the streams that the program
// has ended, once the connection is out of repair mode.
func (s *inetSocket) sendRest() error {
	if rest := s.unsent(); len(rest) > 0 {
		if err := s.roomFor(sendBuffer(), len(s.rec.TCP.SendData)); err != nil {
			return err
		}
		if err := s.write(rest); err != nil {
			return fmt.Errorf("fill send queue: %w", err)
		}
	}
	if inet.SentFIN(s.rec.State) {
		if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
			return fmt.Errorf("end stream: %w", err)
		}
	}
	if s.rec.Shutdown&1 != 0 {
		if err := unix.Shutdown(s.fd, unix.SHUT_RD); err != nil {
			return fmt.Errorf("shut down receiving: %w", err)
		}
	}
	return nil
}
