package checkpoint

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Sequence numbers and the send queue of a connection are shown in repair mode
// alone (TCP_REPAIR, tcp(7)), which belongs to the socket and would outlive us. So
// it is used as little as can be:
//
//   - Both ends inside and nothing under way (the common case by far, since a
//     delayed acknowledgement can be had at once by TCP_QUICKACK): not at all.
//     Any sequence numbers that agree will do for the restored pair.
//   - Otherwise they are read in the kernel's memory (inet.ReadExact). Where that is
//     not to be had repair mode is on for the few system calls of readExact:
//     some ten microseconds for a queue of usual size. If we are killed within
//     them the socket stays in repair mode, and a connection is hurt.
//   - When the tasks are killed it is on for connections to the outside from right
//     before the kill, so that the end of their sockets sends nothing to the peer
//     (silence): a window of a microsecond for each connection. Both ends of the
//     others die together; what the kernel keeps of them is swept away at restore.

// needsExact tells whether a connection within the tree has bytes under way:
// then it matters which of them have arrived.
func (d *dump) needsExact(s, other *inetSocket) (bool, error) {
	if exact, known := d.inet.exact[other.pair()]; known {
		return exact, nil
	}
	for _, from := range []struct{ sender, receiver *inetSocket }{{s, other}, {other, s}} {
		if from.sender.out == 0 {
			continue
		}
		if err := acknowledge(from.receiver.fd); err != nil {
			return false, err
		}
		var err error
		if from.sender.in, from.sender.out, from.sender.unsent, err = inet.Queued(from.sender.fd); err != nil {
			return false, err
		}
	}
	exact := s.out > 0 || other.out > 0
	if d.inet.exact == nil {
		d.inet.exact = map[pair]bool{}
	}
	d.inet.exact[s.pair()] = exact
	return exact, nil
}

// acknowledge sends an acknowledgement that is being delayed. An even number
// other than 0 leaves the socket in the mode in which it delays them.
func acknowledge(fd int) error {
	quick, err := inet.Int(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK)
	if err != nil {
		return err
	}
	value := 1
	if quick == 0 {
		value = 2
	}
	return inet.SetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, value)
}

// readExact reads sequence numbers and send queue into t, and gives the size of
// segments that the peer announced.
func (d *dump) readExact(s *inetSocket, t *specs.TCP) (mss uint32, err error) {
	e, err := d.exactInMemory(s)
	if err != nil {
		d.log.WithError(err).Debug("connection is read in repair mode")
		if e, err = s.exactInRepair(); err != nil {
			return 0, fmt.Errorf("read connection: %w", err)
		}
	}
	if s.in, s.out, s.unsent, err = inet.Queued(s.fd); err != nil {
		return 0, err
	}
	fin := 0
	if inet.SentFIN(s.state) {
		fin = 1
	}
	// The end of the stream counts as a byte, until it is acknowledged.
	if n := len(e.SendData); n != s.out && n != s.out-fin {
		return 0, fmt.Errorf("%d of %d bytes of the send queue: %w", n, s.out, unix.EAGAIN)
	}
	t.SendData, t.Window, t.Timestamp = e.SendData, e.Window, e.Timestamp
	t.SendSeq, t.RecvSeq = e.SendSeq-uint32(fin), e.RecvSeq
	if inet.GotFIN(s.state) {
		t.RecvSeq--
	}
	t.Unsent = uint32(min(max(s.unsent-fin, 0), len(e.SendData)))
	return e.MSS, nil
}

// exactInMemory reads it without a change to the socket.
func (d *dump) exactInMemory(s *inetSocket) (e *inet.Exact, err error) {
	k, err := d.kernelMemory()
	if err != nil {
		return nil, err
	}
	for range 3 {
		if e, err = inet.ReadExact(k, s.fd); !errors.Is(err, kmem.ErrMoving) {
			break
		}
	}
	return e, err
}

// exactInRepair reads it in repair mode.
func (s *inetSocket) exactInRepair() (*inet.Exact, error) {
	reuse, err := inet.Int(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
	if err != nil {
		return nil, err
	}
	// Room beforehand: no page faults in between.
	e := &inet.Exact{SendData: make([]byte, s.out+1)}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := inet.Repair(s.fd); err != nil {
		return nil, fmt.Errorf("repair mode: %w", err)
	}
	err = s.repaired(e)
	// Repair mode has taken the place of SO_REUSEADDR in the kernel.
	return e, errors.Join(err, inet.EndRepairMute(s.fd), inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse))
}

// repaired makes the calls that must be made in repair mode.
func (s *inetSocket) repaired(e *inet.Exact) error {
	if err := inet.Queue(s.fd, inet.RecvQueue); err != nil {
		return err
	}
	var err error
	if e.RecvSeq, err = inet.Seq(s.fd); err != nil {
		return err
	}
	if err := inet.Queue(s.fd, inet.SendQueue); err != nil {
		return err
	}
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

// silence puts the connections to the outside into repair mode, right before their tasks
// are killed: they then end without a word, and the peers outside wait for
// their restored other ends. Our own duplicates are the last to be closed.
//
// The network lock stays until the restore: a network namespace that lives on
// (a pod's, the host's) would answer what the peers send meanwhile with a reset.
func (n *inetSockets) silence() error {
	if n.lock != nil {
		if err := n.lock.Keep(n.kept); err != nil {
			return err
		}
	}
	for _, s := range n.live {
		if err := inet.Repair(s.fd); err != nil {
			return errors.Join(&Error{"repair mode of " + s.f.name(), s.f.proc.nspid, err}, n.unsilence())
		}
	}
	return nil
}

// unsilence takes it back when the tasks live on after all.
func (n *inetSockets) unsilence() error {
	var errs []error
	if n.lock != nil {
		errs = append(errs, n.lock.Forget(n.kept))
	}
	for _, s := range n.live {
		reuse := 0
		for _, o := range s.f.record.(*specs.InetSocket).Options {
			if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_REUSEADDR && len(o.Value) > 0 {
				reuse = int(o.Value[0])
			}
		}
		errs = append(errs, inet.EndRepair(s.fd), inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, reuse))
	}
	return errors.Join(errs...)
}

// cut keeps the traffic of a connection to the outside away from now on: what
// arrived after its queue was read would be acknowledged and lost.
func (n *inetSockets) cut(d *dump, s *inetSocket) error {
	return n.within(d, func() error {
		if n.lock == nil {
			var err error
			if n.lock, err = inet.NewLock(); err != nil {
				return err
			}
			n.kept = "rethaw-" + strings.ToLower(rand.Text()[:10])
		}
		p := s.pair()
		return n.lock.Add(p.local, p.remote)
	})
}
