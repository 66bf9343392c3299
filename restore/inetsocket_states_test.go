package restore

import (
	"bytes"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func stateOf(t *testing.T, s *inetSocket) int32 {
	t.Helper()
	info, err := inet.ReadInfo(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	return int32(info.State)
}

// TestHalf makes connections whose other end was closed.
func TestHalf(t *testing.T) {
	needRepair(t)
	for i, c := range []struct {
		state  int32
		orphan bool
	}{
		{inet.Established, false}, {inet.CloseWait, true}, {inet.CloseWait, false}, {inet.FinWait2, true}, {inet.FinWait2, false},
	} {
		t.Run(inet.StateName(c.state), func(t *testing.T) {
			r := newTestRestorer()
			here, there := ports(uint16(100 + i))
			rec := side(c.state, here, there, []byte("still to be read"))
			rec.TCP.Orphan = c.orphan
			s := made(t, r, rec)[0]
			if err := r.restoreHalf(s); err != nil {
				t.Fatal(err)
			}
			if got := stateOf(t, s); got != c.state {
				t.Errorf("in state %s", inet.StateName(got))
			}
			buf := make([]byte, 100)
			if n, err := unix.Read(s.fd, buf); string(buf[:max(n, 0)]) != "still to be read" {
				t.Errorf("read %q, %v", buf[:max(n, 0)], err)
			}
			n, err := unix.Read(s.fd, buf)
			if inet.GotFIN(c.state) && (n != 0 || err != nil) {
				t.Errorf("end of the stream: %d, %v", n, err)
			}
			if !inet.GotFIN(c.state) && err != unix.EAGAIN {
				t.Errorf("nothing to read: %d, %v", n, err)
			}
		})
	}
}

// TestDead makes what is left of connections.
func TestDead(t *testing.T) {
	needRepair(t)
	for i, c := range []struct {
		name  string
		data  []byte
		reset bool
		want  error
	}{
		{"read out", nil, false, nil},
		{"with data", []byte("left"), false, nil},
		{"given up", nil, true, unix.ECONNRESET},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTestRestorer()
			r.inet.fake = uint16(20 * i)
			here, there := ports(uint16(120 + i))
			rec := side(inet.Close, here, there, c.data)
			rec.Shutdown, rec.Remote = 3, nil
			rec.Options = []specs.SocketOption{{Level: unix.IPPROTO_TCP, Name: unix.TCP_NODELAY, Value: []byte{1, 0, 0, 0}}}
			if c.reset {
				rec.State, rec.TCP.Reset = inet.Established, true
			}
			s := made(t, r, rec)[0]
			if err := r.finishTCP(s); err != nil {
				t.Fatal(err)
			}
			if got := stateOf(t, s); got != inet.Close {
				t.Errorf("in state %s", inet.StateName(got))
			}
			if v, err := inet.Int(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); v == 0 || err != nil {
				t.Errorf("option: %d, %v", v, err)
			}
			buf := make([]byte, 100)
			if len(c.data) > 0 {
				if n, err := unix.Read(s.fd, buf); !bytes.Equal(buf[:max(n, 0)], c.data) {
					t.Errorf("read %q, %v", buf[:max(n, 0)], err)
				}
			}
			n, err := unix.Read(s.fd, buf)
			if c.want == nil && (n != 0 || err != nil) || c.want != nil && err != c.want {
				t.Errorf("read %d, %v; want %v", n, err, c.want)
			}
			if _, err := unix.Write(s.fd, buf); err != unix.EPIPE {
				t.Errorf("write: %v", err)
			}
		})
	}
}

// TestUnderway restores a pair with bytes that were sent and did not arrive, and
// some that were never sent.
func TestUnderway(t *testing.T) {
	needRepair(t)
	r := newTestRestorer()
	here, there := ports(140)
	a, b := side(inet.FinWait1, here, there, nil), side(inet.Established, there, here, []byte("0123"))
	a.TCP.Exact, b.TCP.Exact = true, true
	// What b has received is not acknowledged yet.
	a.TCP.SendData, a.TCP.Unsent = []byte("0123456789"), 3
	a.TCP.SendSeq, a.TCP.RecvSeq = 5010, 7000
	b.TCP.SendSeq, b.TCP.RecvSeq = 7000, 5004
	a.TCP.Window, b.TCP.Window = inet.NewWindow(65536, 65536, 7000), inet.NewWindow(65536, 65536, 5004)
	socks := made(t, r, a, b)
	if err := r.restorePair(socks[0], socks[1]); err != nil {
		t.Fatal(err)
	}
	var got []byte
	buf := make([]byte, 100)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n, err := unix.Read(socks[1].fd, buf)
		if n == 0 && err == nil {
			break
		}
		got = append(got, buf[:max(n, 0)]...)
	}
	if string(got) != "0123456789" {
		t.Errorf("received %q", got)
	}
}

// TestWaiting has clients connect to a listening socket again.
func TestWaiting(t *testing.T) {
	needRepair(t)
	r := newTestRestorer()
	here, there := ports(150)
	l := side(inet.Listen, here, there, nil)
	l.TCP, l.Remote, l.Backlog = nil, nil, 5
	c := side(inet.Established, there, here, nil)
	c.TCP.Peer = 1
	socks := made(t, r, l, c)
	for _, w := range []specs.Waiting{{Data: []byte("sent before")}, {Ended: true, Data: []byte("sent and gone")}} {
		w.Local, w.Remote = l.Local, c.Local
		s := socks[1]
		var err error
		if w.Ended {
			_, other := ports(152)
			w.Remote = inet.Sockaddr(unix.AF_INET, other)
			err = r.connectGone(w)
		} else if err = s.leaveRepair(); err == nil {
			err = s.meet(s.rec.Remote, w.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
		fd, _, err := unix.Accept4(socks[0].fd, unix.SOCK_NONBLOCK)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := unix.Read(fd, buf); string(buf[:max(n, 0)]) != string(w.Data) {
			t.Errorf("read %q, %v", buf[:max(n, 0)], err)
		}
		if n, err := unix.Read(fd, buf); w.Ended && (n != 0 || err != nil) {
			t.Errorf("end of the stream: %d, %v", n, err)
		}
		unix.Close(fd)
	}
}
