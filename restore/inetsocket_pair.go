package restore

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// restorePair makes a connection whose ends are both in the image: each in repair
// mode, and when both are there they are left to the kernel, which brings
// streams that were ended into their states by itself.
func (r *restorer) restorePair(a, b *inetSocket) error {
	if a.rec.TCP.Exact && b.rec.TCP.Exact {
		a.number()
		b.number()
	} else {
		// Nothing was under way: what one has sent the other has received.
		a.sendFrom, b.recvFrom = firstSeq, firstSeq-uint32(len(b.rec.TCP.RecvData))
		b.sendFrom, a.recvFrom = 2*firstSeq, 2*firstSeq-uint32(len(a.rec.TCP.RecvData))
		a.window(b)
		b.window(a)
	}
	for _, s := range []*inetSocket{a, b} {
		if err := s.establish(); err != nil {
			return err
		}
	}
	for _, s := range []*inetSocket{a, b} {
		// Ending it sends a probe, by whose answer the ends learn their windows.
		if err := inet.EndRepair(s.fd); err != nil {
			return fmt.Errorf("leave repair mode: %w", err)
		}
		if err := s.reuse(); err != nil {
			return err
		}
	}
	first, second := a, b
	if inet.GotFIN(a.rec.State) && !inet.GotFIN(b.rec.State) {
		first, second = b, a
	}
	for _, s := range []*inetSocket{first, second} {
		if err := s.sendRest(); err != nil {
			return err
		}
	}
	for _, s := range []*inetSocket{a, b} {
		if err := s.settle(); err != nil {
			return err
		}
		if err := s.complete(); err != nil {
			return err
		}
	}
	return nil
}

// window makes the windows of a connection with nothing under way: each end offers
// what the other may send.
func (s *inetSocket) window(other *inetSocket) {
	t := s.rec.TCP
	t.Window = inet.NewWindow(t.SendWindow, other.rec.TCP.SendWindow, s.recvFrom+uint32(len(t.RecvData)))
}

// settle waits for the end of the stream of the other end.
func (s *inetSocket) settle() error {
	if s.rec.State == inet.Established || s.rec.State == inet.FinWait1 {
		return nil
	}
	// One that has sent its end may come further than it was.
	return s.await(s.rec.State, inet.Close)
}

// restoreHalf makes a connection whose other end was closed: with a socket of our
// own at that end, which is closed as the other one was.
func (r *restorer) restoreHalf(s *inetSocket) error {
	t := s.rec.TCP
	if t.Exact {
		s.number()
	} else {
		s.sendFrom, s.recvFrom = firstSeq, 2*firstSeq-uint32(len(t.RecvData))
	}
	if err := s.establish(); err != nil {
		return err
	}
	fd, err := unix.Socket(int(s.rec.Family), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	other := &inetSocket{
		fd: fd, sendFrom: s.recvFrom + uint32(len(t.RecvData)), recvFrom: s.sendFrom,
		rec: &specs.InetSocket{
			Family: s.rec.Family, Kind: s.rec.Kind, State: inet.Established, TCP: &specs.TCP{Options: mirrored(t.Options), SendMSS: t.SendMSS},
			Local: s.rec.Remote, Remote: s.rec.Local,
		},
	}
	if !t.Exact {
		other.rec.TCP.SendWindow = t.SendWindow
		s.window(other)
		other.window(s)
	}
	err = s.half(other)
	return errors.Join(err, unix.Close(fd))
}

// half goes through the end of the other end.
func (s *inetSocket) half(other *inetSocket) error {
	if err := other.bind(); err != nil {
		return err
	}
	if err := other.establish(); err != nil {
		return err
	}
	if err := other.leaveRepair(); err != nil {
		return err
	}
	if err := s.leaveRepair(); err != nil {
		return err
	}
	// Its end came before ours if we have not ended it before.
	if s.rec.State == inet.FinWait2 || s.rec.State == inet.Closing {
		if err := s.sendRest(); err != nil {
			return err
		}
		// The acknowledgement would come too late.
		if err := inet.SetInt(other.fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1); err != nil {
			return err
		}
	}
	if s.rec.State == inet.FinWait2 {
		if err := s.await(inet.FinWait2); err != nil {
			return err
		}
	}
	if inet.GotFIN(s.rec.State) {
		if err := unix.Shutdown(other.fd, unix.SHUT_WR); err != nil {
			return err
		}
		if err := s.await(inet.CloseWait, inet.Closing, inet.LastAck, inet.Close); err != nil {
			return err
		}
	}
	if !s.rec.TCP.Orphan || !inet.GotFIN(s.rec.State) {
		// The other end was gone without a word: so must this one.
		if err := inet.Repair(other.fd); err != nil {
			return err
		}
	}
	if s.rec.State != inet.FinWait2 && s.rec.State != inet.Closing {
		if err := s.sendRest(); err != nil {
			return err
		}
	}
	return s.complete()
}

// mirrored are the negotiated options as the other end has them.
func mirrored(options [][2]uint32) [][2]uint32 {
	const windowScale = 3
	var list [][2]uint32
	for _, o := range options {
		if o[0] == windowScale {
			o[1] = o[1]>>16 | o[1]<<16
		}
		list = append(list, o)
	}
	return list
}
