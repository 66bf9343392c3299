package checkpoint

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// capture is a connection with bytes under way. They move on while the tasks stand
// still: timers of the kernel send, and acknowledge. But what a program has
// written stays in its send queue until it is acknowledged. So all send queues are read
// before any receive queue: what is in neither of them does not exist, and what is
// in both the sequence numbers tell.
type capture struct {
	state       int32
	sent        *inet.Exact
	recvSeq     uint32
	recv        []byte
	out, unsent int
}

// tries is how often something is read that moves meanwhile.
const tries = 5

// captured reads one connection, or both ends of one, once.
func (d *dump) captured(s, other *inetSocket) (*capture, error) {
	if c := d.inet.captures[s.pair()]; c != nil {
		return c, nil
	}
	ends := []*inetSocket{s}
	if other != nil {
		ends = append(ends, other)
	}
	list := make([]*capture, len(ends))
	for i, end := range ends {
		list[i] = &capture{}
		if err := d.captureSent(end, list[i]); err != nil {
			return nil, fmt.Errorf("read send queue: %w", err)
		}
	}
	for i, end := range ends {
		if err := d.captureReceived(end, list[i]); err != nil {
			return nil, fmt.Errorf("read receive queue: %w", err)
		}
	}
	if other != nil {
		// What has arrived was sent, be it after the first look.
		for i, c := range list {
			c.unsent = min(c.unsent, max(int(int32(c.sent.SendSeq-list[1-i].recvSeq)), 0))
		}
	}
	if d.inet.captures == nil {
		d.inet.captures = map[pair]*capture{}
	}
	for i, end := range ends {
		d.inet.captures[end.pair()] = list[i]
	}
	return list[0], nil
}

// put enters what was captured into a record.
func (c *capture) put(s *inetSocket, t *specs.TCP) error {
	fin := 0
	if inet.SentFIN(c.state) {
		fin = 1
	}
	// The end of the stream counts as a byte, until it is acknowledged.
	if n := len(c.sent.SendData); n != c.out && n != c.out-fin {
		return fmt.Errorf("%d of %d bytes of the send queue: %w", n, c.out, unix.EAGAIN)
	}
	s.state = c.state
	t.Exact = true
	t.SendData, t.Window, t.Timestamp = c.sent.SendData, c.sent.Window, c.sent.Timestamp
	t.SendSeq, t.RecvSeq = c.sent.SendSeq-uint32(fin), c.recvSeq
	if inet.GotFIN(c.state) {
		t.RecvSeq--
	}
	t.Unsent = uint32(min(max(c.unsent-fin, 0), len(c.sent.SendData)))
	t.RecvData = c.recv
	return nil
}

// captureSent reads the send queue with what belongs to it.
func (d *dump) captureSent(s *inetSocket, c *capture) error {
	var err error
	for range tries {
		var out int
		if _, out, _, err = inet.Queued(s.fd); err != nil {
			return err
		}
		if c.sent, err = d.sent(s, out); err != nil {
			return err
		}
		if _, c.out, c.unsent, err = inet.Queued(s.fd); err != nil || c.out == out {
			return err
		}
	}
	return unix.EAGAIN
}

// sent reads it in the kernel's memory, or else in repair mode.
func (d *dump) sent(s *inetSocket, out int) (*inet.Exact, error) {
	k, err := d.kernelMemory()
	if err == nil {
		var e *inet.Exact
		for range tries {
			if e, err = inet.ReadExact(k, s.fd); err == nil {
				return e, nil
			}
			if !errors.Is(err, kmem.ErrMoving) {
				break
			}
		}
	}
	d.log.WithError(err).Debug("a send queue is read in repair mode")
	// Room beforehand: no page faults in between.
	e := &inet.Exact{SendData: make([]byte, out+1)}
	return e, d.inRepair(s, func() error { return s.sentInRepair(e) })
}

// captureReceived reads the receive queue. It only grows: the bytes up to one
// sequence number are enough.
func (d *dump) captureReceived(s *inetSocket, c *capture) error {
	for range tries {
		before, err := inet.ReadInfo(s.fd)
		if err != nil {
			return err
		}
		seq, in, err := d.received(s)
		if err != nil {
			return err
		}
		after, err := inet.ReadInfo(s.fd)
		if err != nil {
			return err
		}
		if before.State != after.State {
			continue
		}
		c.state, c.recvSeq = int32(after.State), seq
		c.recv, err = inet.Peek(s.fd, in)
		return err
	}
	return unix.EAGAIN
}

// received gives the end of the receive queue and the bytes before it.
func (d *dump) received(s *inetSocket) (seq uint32, in int, err error) {
	k, err := d.kernelMemory()
	if err == nil {
		if seq, in, err = s.stable(func() (uint32, error) { return inet.RecvSeq(k, s.fd) }); err == nil {
			return seq, in, nil
		}
	}
	err = d.inRepair(s, func() error {
		if err := inet.Queue(s.fd, inet.RecvQueue); err != nil {
			return err
		}
		var err error
		seq, in, err = s.stable(func() (uint32, error) { return inet.Seq(s.fd) })
		return err
	})
	return seq, in, err
}

// stable asks for both until they belong together.
func (s *inetSocket) stable(end func() (uint32, error)) (seq uint32, in int, err error) {
	for range tries {
		if seq, err = end(); err != nil {
			return 0, 0, err
		}
		if in, _, _, err = inet.Queued(s.fd); err != nil {
			return 0, 0, err
		}
		again, err := end()
		if err != nil || again == seq {
			return seq, in, err
		}
	}
	return 0, 0, unix.EAGAIN
}

// inRepair runs f while the socket is in repair mode. If we die meanwhile, the watchdog ends it.
func (d *dump) inRepair(s *inetSocket, f func() error) error {
	reuse, err := inet.Int(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return err
	}
	forget, err := d.guardRepair(s, inet.RepairOffMute, reuse, false)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := inet.Repair(s.fd); err != nil {
		return errors.Join(fmt.Errorf("repair mode: %w", err), forget())
	}
	err = f()
	// Repair mode has taken the place of SO_REUSEADDR in the kernel.
	return errors.Join(err, inet.EndRepairMute(s.fd), inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse), forget())
}

// sentInRepair makes the calls that must be made in repair mode.
func (s *inetSocket) sentInRepair(e *inet.Exact) error {
	if err := inet.Queue(s.fd, inet.SendQueue); err != nil {
		return err
	}
	var err error
	if e.SendSeq, err = inet.Seq(s.fd); err != nil {
		return err
	}
	got, _, err := unix.Recvfrom(s.fd, e.SendData, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		return err
	}
	e.SendData = e.SendData[:max(got, 0)]
	if e.Window, err = inet.Window(s.fd); err != nil {
		return err
	}
	clamp, err := inet.Int(s.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	if err != nil {
		return err
	}
	stamp, err := inet.Int(s.fd, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
	e.MSS, e.Timestamp = uint32(clamp), uint32(stamp)
	return err
}
