package restore

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/inet"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// side is one end of a connection to be made.
func side(state int32, local, remote netip.AddrPort, data []byte) *specs.InetSocket {
	family := int32(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	return &specs.InetSocket{
		Description: specs.Description{Flags: unix.O_RDWR | unix.O_NONBLOCK},
		Family:      family, Kind: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, State: state,
		Local: inet.Sockaddr(family, local), Remote: inet.Sockaddr(family, remote),
		TCP: &specs.TCP{RecvData: data, SendWindow: 65536, SendMSS: 32000, Options: [][2]uint32{{2, 65476}, {4, 0}, {3, 7 | 7<<16}, {8, 0}}},
	}
}

// made opens sockets of records as a restore does.
func made(t *testing.T, r *restorer, records ...*specs.InetSocket) []*inetSocket {
	t.Helper()
	var list []*inetSocket
	for i, rec := range records {
		f, err := openInet(r, specs.ID(i+1), rec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		list = append(list, &inetSocket{id: specs.ID(i + 1), rec: rec, fd: int(f.Fd())})
	}
	return list
}

func needRepair(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := inet.Repair(fd); err != nil || os.Geteuid() != 0 {
		t.Skipf("no repair mode here: %v", err)
	}
}

func newTestRestorer() *restorer { return &restorer{opts: &Options{}} }

// port gives ports of their own to each test.
func ports(n uint16) (a, b netip.AddrPort) {
	ip := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if n%2 != 0 {
		ip = netip.IPv6Loopback()
	}
	return netip.AddrPortFrom(ip, 20000+2*n), netip.AddrPortFrom(ip, 20001+2*n)
}

func TestPair(t *testing.T) {
	needRepair(t)
	n := uint16(0)
	for _, c := range []struct {
		a, b         int32
		toA, toB     int
		wantA, wantB int32
	}{
		{inet.Established, inet.Established, 0, 0, inet.Established, inet.Established},
		{inet.Established, inet.Established, 30000, 50000, inet.Established, inet.Established},
		{inet.FinWait2, inet.CloseWait, 30000, 50000, inet.FinWait2, inet.CloseWait},
		{inet.CloseWait, inet.FinWait2, 10, 0, inet.CloseWait, inet.FinWait2},
	} {
		for _, version := range []string{"IPv4", "IPv6"} {
			n++
			here, there := ports(n - 1)
			t.Run(fmt.Sprintf("%s %s %s", version, inet.StateName(c.a), inet.StateName(c.b)), func(t *testing.T) {
				r := newTestRestorer()
				toA, toB := bytes.Repeat([]byte("a"), c.toA), bytes.Repeat([]byte("b"), c.toB)
				socks := made(t, r, side(c.a, here, there, toA), side(c.b, there, here, toB))
				if err := r.restorePair(socks[0], socks[1]); err != nil {
					info, _ := inet.Get(socks[0].fd, unix.IPPROTO_TCP, unix.TCP_INFO, 256)
					t.Logf("%v", info)
					t.Fatal(err)
				}
				for j, want := range []int32{c.wantA, c.wantB} {
					info, err := inet.ReadInfo(socks[j].fd)
					if info.SendMSS != 32000 {
						t.Errorf("end %d sends segments of %d bytes", j, info.SendMSS)
					}
					if err != nil || int32(info.State) != want {
						t.Errorf("end %d is in state %s, %v; want %s", j, inet.StateName(int32(info.State)), err, inet.StateName(want))
					}
					want := [2][]byte{toA, toB}[j]
					got, err := inet.Peek(socks[j].fd, len(want))
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("end %d read other data: %v", j, err)
					}
					if n, err := unix.Read(socks[j].fd, got); n > 0 && n != len(want) || err != nil && len(want) > 0 {
						t.Errorf("end %d read %d bytes, %v", j, n, err)
					}
				}
				for j, s := range socks {
					if inet.SentFIN(s.rec.State) {
						continue
					}
					other := socks[1-j].fd
					for range 3 {
						if n, err := unix.SendmsgN(s.fd, make([]byte, 50000), nil, nil, unix.MSG_DONTWAIT); n != 50000 || err != nil {
							t.Errorf("end %d sends %d, %v", j, n, err)
						}
						time.Sleep(10 * time.Millisecond)
						if n, err := unix.Read(other, make([]byte, 60000)); n != 50000 {
							t.Errorf("end %d receives %d, %v", 1-j, n, err)
						}
					}
				}
			})
		}
	}
}
