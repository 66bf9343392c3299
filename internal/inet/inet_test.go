package inet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/kmem"
	"golang.org/x/sys/unix"
)

func TestSockaddr(t *testing.T) {
	for _, c := range []struct {
		family int32
		addr   string
	}{{unix.AF_INET, "127.0.0.1:80"}, {unix.AF_INET6, "[::1]:8080"}, {unix.AF_INET6, "10.1.2.3:9"}, {unix.AF_INET6, "[fe80::1]:65535"}} {
		want := netip.MustParseAddrPort(c.addr)
		if got := AddrPort(Sockaddr(c.family, want)); got != want {
			t.Errorf("%s came back as %v", c.addr, got)
		}
	}
	for _, raw := range [][]byte{nil, {2, 0}, make([]byte, 16), append([]byte{10, 0}, make([]byte, 14)...)} {
		if got := AddrPort(raw); got.IsValid() {
			t.Errorf("%v is %v", raw, got)
		}
	}
}

// TestOptions sees that the names are told apart and that what is read can be set.
func TestOptions(t *testing.T) {
	seen := map[[2]int]string{}
	for _, o := range table {
		key := [2]int{o.Level, o.Name}
		if seen[key] != "" {
			t.Errorf("%s and %s are the same", seen[key], o.Label)
		}
		seen[key] = o.Label
		if found, err := Find(o.Level, o.Name); err != nil || found.Label != o.Label {
			t.Errorf("%s is not found: %v", o.Label, err)
		}
	}
	if _, err := Find(12345, 1); !errors.Is(err, ErrUnknownOption) {
		t.Errorf("an option that there is not: %v", err)
	}
	for _, c := range []struct{ family, kind int }{{unix.AF_INET, unix.SOCK_STREAM}, {unix.AF_INET6, unix.SOCK_DGRAM}} {
		fd, err := unix.Socket(c.family, c.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fresh := mustRead(t, fd)
		must(t, SetInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
		must(t, SetInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 7))
		must(t, SetInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 30000))
		other, err := unix.Socket(c.family, c.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(other)
		n := 0
		Changed(mustRead(t, fd), fresh, false, func(o *Option, value []byte) {
			n++
			if err := o.Apply(other, value); err != nil {
				t.Error(err)
			}
		})
		if now, want := mustRead(t, other), mustRead(t, fd); !equal(now, want) || n < 3 {
			t.Errorf("%d options, and they differ", n)
		}
	}
}

func equal(a, b Values) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPacket checks the checksums of packets made by hand.
func TestPacket(t *testing.T) {
	for _, p := range []Packet{
		{Protocol: unix.IPPROTO_UDP, From: netip.MustParseAddrPort("192.0.2.1:5"), To: netip.MustParseAddrPort("127.0.0.1:6"), Data: []byte("odd")},
		{Protocol: unix.IPPROTO_TCP, From: netip.MustParseAddrPort("[2001:db8::1]:5"), To: netip.MustParseAddrPort("[::1]:6"), Flags: RST, Seq: 7},
	} {
		b, err := p.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		body, pseudo := b[ipv4Header:], b[12:20]
		if p.From.Addr().Is6() {
			body, pseudo = b[ipv6Header:], b[8:40]
		} else if fold(sum(b[:ipv4Header], 0)) != 0 {
			t.Error("checksum of the IP header is wrong")
		}
		if fold(sum(body, sum(pseudo, uint64(len(body))+uint64(p.Protocol)))) != 0 {
			t.Error("checksum is wrong")
		}
	}
	if _, err := (&Packet{From: netip.MustParseAddrPort("1.1.1.1:1"), To: netip.MustParseAddrPort("[::1]:1")}).Bytes(); err == nil {
		t.Error("a packet between families was made")
	}
}

// TestDatagrams injects datagrams of a sender that there is not and walks through
// the queue, twice.
func TestDatagrams(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, Bind(fd, Sockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:0"))))
	raw, err := Name(fd)
	must(t, err)
	from := netip.MustParseAddrPort("192.0.2.77:4321")
	want := []string{"first", "", "third"}
	for _, data := range want {
		p := Packet{Protocol: unix.IPPROTO_UDP, From: from, To: AddrPort(raw), Data: []byte(data)}
		if err := p.Inject(); errors.Is(err, unix.EPERM) {
			t.Skip("needs CAP_NET_RAW")
		} else if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	must(t, Datagrams(fd, func(sender, data, _ []byte) error {
		if AddrPort(sender) != from || string(data) != want[n] {
			t.Errorf("datagram %d: %q from %v", n, data, AddrPort(sender))
		}
		n++
		return nil
	}))
	if n != len(want) {
		t.Errorf("%d datagrams", n)
	}
	if off, err := Int(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); off != -1 || err != nil {
		t.Errorf("SO_PEEK_OFF is %d, %v", off, err)
	}
}

// inNetNS runs f in a network namespace of its own with the loopback interface up.
func inNetNS(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with us
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Logf("unshare: %v", err)
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			t.Error(err)
			return
		}
		ifr.SetUint16(unix.IFF_UP)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// connected makes a connection over the loopback interface.
func connected(t *testing.T) (client, server int) {
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return -1, -1
	}
	defer unix.Close(l)
	client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = Bind(l, Sockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:0")))
	}
	if err == nil {
		err = unix.Listen(l, 1)
	}
	raw, nameErr := Name(l)
	if err = errors.Join(err, nameErr); err == nil {
		err = Connect(client, raw)
	}
	if err == nil {
		server, _, err = unix.Accept4(l, unix.SOCK_CLOEXEC)
	}
	if err != nil {
		t.Error(err)
		return -1, -1
	}
	return client, server
}

// readable tells whether something arrives within a time.
func readable(fd int, d time.Duration) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, _ := unix.Poll(p, int(d.Milliseconds()))
	return n > 0
}

// TestLock: a locked connection is still, others go on, and all is as before when
// the lock is closed.
func TestLock(t *testing.T) {
	inNetNS(t, func() {
		a, b := connected(t)
		c, d := connected(t)
		local, _ := Name(a)
		remote, _ := Peer(a)
		lock, err := NewLock()
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
			t.Logf("not here: %v", err)
			return
		}
		if err == nil {
			err = lock.Add(AddrPort(local), AddrPort(remote))
		}
		if err == nil {
			err = lock.Keep("rethaw-test")
		}
		if err != nil {
			t.Error(err)
			return
		}
		for _, fd := range []int{a, c} {
			if _, err := unix.Write(fd, []byte("x")); err != nil {
				t.Error(err)
			}
		}
		if readable(b, 100*time.Millisecond) || !readable(d, time.Second) {
			t.Error("the lock is on the wrong connection")
		}
		lock.Close()
		if readable(b, 300*time.Millisecond) {
			t.Error("the lock that was to stay is gone")
		}
		if lock, err = NewLock(); err == nil {
			err = errors.Join(lock.Forget("rethaw-test"), lock.Forget("rethaw-test"), lock.Close())
		}
		if err != nil || !readable(b, 5*time.Second) {
			t.Errorf("the connection does not go on: %v", err)
		}
	})
}

// TestDiag finds both ends of a connection, and ends one.
func TestDiag(t *testing.T) {
	inNetNS(t, func() {
		a, b := connected(t)
		local, _ := Name(a)
		socks, err := List(unix.IPPROTO_TCP)
		if err != nil || len(socks) != 2 {
			t.Errorf("%d sockets, %v", len(socks), err)
		}
		for _, s := range socks {
			if s.State != Established || s.Inode == 0 {
				t.Errorf("%+v", s)
			}
			if s.Local == AddrPort(local) {
				if err := Destroy(s); err != nil {
					t.Logf("destroy: %v", err)
					return
				}
			}
		}
		if info, err := ReadInfo(a); err != nil || info.State != Close {
			t.Errorf("state %d, %v", info.State, err)
		}
		unix.Close(b)
	})
}

func TestHasChooser(t *testing.T) {
	k, err := kmem.Open()
	if err != nil {
		t.Skipf("not here: %v", err)
	}
	defer k.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, SetInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	must(t, Bind(fd, Sockaddr(unix.AF_INET, netip.MustParseAddrPort("127.0.0.1:0"))))
	if has, err := HasChooser(k, fd); has || err != nil {
		t.Errorf("without one: %v, %v", has, err)
	}
	program := []unix.SockFilter{{Code: 6}} // return 0
	must(t, unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &program[0]}))
	if has, err := HasChooser(k, fd); !has || err != nil {
		t.Errorf("with one: %v, %v", has, err)
	}
}

func FuzzParseDiag(f *testing.F) {
	m := make([]byte, unix.SizeofNlMsghdr+diagMessageSize+8)
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	binary.NativeEndian.PutUint16(m[4:], sockDiagByFamily)
	m[unix.SizeofNlMsghdr] = unix.AF_INET
	m[unix.SizeofNlMsghdr+diagMessageSize] = 5
	m[unix.SizeofNlMsghdr+diagMessageSize+2] = diagShutdown
	f.Add(m)
	done := make([]byte, unix.SizeofNlMsghdr+4)
	binary.NativeEndian.PutUint32(done, uint32(len(done)))
	binary.NativeEndian.PutUint16(done[4:], unix.NLMSG_DONE)
	f.Add(append(m, done...))
	f.Add(done[:10])
	f.Fuzz(func(t *testing.T, b []byte) {
		socks, _, _ := ParseDiag(b)
		if len(socks)*diagMessageSize > len(b) {
			t.Errorf("%d sockets out of %d bytes", len(socks), len(b))
		}
	})
}

func FuzzAddrPort(f *testing.F) {
	f.Add(Sockaddr(unix.AF_INET, netip.MustParseAddrPort("1.2.3.4:5")))
	f.Add(Sockaddr(unix.AF_INET6, netip.MustParseAddrPort("[::1]:5")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := AddrPort(b)
		if Scope(b) != 0 && !a.IsValid() {
			t.Error("a scope without an address")
		}
	})
}

func mustRead(t *testing.T, fd int) Values {
	t.Helper()
	values, err := Read(fd)
	if err != nil {
		t.Fatal(err)
	}
	return values
}
