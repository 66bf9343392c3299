package checkpoint

import (
	"crypto/rand"
	"errors"
	"strings"

	"github.com/rethaw/rethaw/internal/inet"
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
//     not to be had repair mode is on for the few system calls of inRepair:
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

// silence puts the connections to the outside into repair mode, right before their tasks
// are killed: they then end without a word, and the peers outside wait for
// their restored other ends. Our own duplicates are the last to be closed.
//
// The network lock stays until the restore: a network namespace that lives on
// (a pod's, the host's) would answer what the peers send meanwhile with a reset.
func (n *inetSockets) silence(d *dump) error {
	if n.lock != nil {
		if err := n.lock.Keep(n.kept); err != nil {
			return err
		}
	}
	for _, s := range n.live {
		// If we die before the kill, the watchdog takes it back.
		forget, err := d.guardRepair(s, inet.RepairOff, s.reuse(), true)
		if err == nil {
			n.forget = append(n.forget, forget)
			err = inet.Repair(s.fd)
		}
		if err != nil {
			return errors.Join(&Error{"repair mode of " + s.f.name(), s.f.proc.nspid, err}, n.unsilence())
		}
	}
	return nil
}

// silenced tells the watchdog that the tasks are dead. It lets go of the connections, before
// anybody makes them anew.
func (n *inetSockets) silenced(d *dump) error {
	if len(n.forget) == 0 {
		return nil
	}
	var errs []error
	for _, forget := range n.forget {
		errs = append(errs, forget())
	}
	n.forget = nil
	return errors.Join(append(errs, d.dog.Settle())...)
}

// reuse is the SO_REUSEADDR of a socket that was saved.
func (s *inetSocket) reuse() int {
	for _, o := range s.f.record.(*specs.InetSocket).Options {
		if o.Level == unix.SOL_SOCKET && o.Name == unix.SO_REUSEADDR && len(o.Value) > 0 {
			return int(o.Value[0])
		}
	}
	return 0
}

// unsilence takes it back when the tasks live on after all.
func (n *inetSockets) unsilence() error {
	var errs []error
	if n.lock != nil {
		errs = append(errs, n.lock.Forget(n.kept))
	}
	for _, s := range n.live {
		errs = append(errs, inet.EndRepair(s.fd), inet.SetInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, s.reuse()))
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
