package checkpoint

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/descriptors"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// queueOf makes a pair of sockets and a description of the second.
func queueOf(t *testing.T, kind int) (sender int, d *dump, f *openFile) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d = &dump{target: &Target{Init: os.Getpid()}}
	d.initFiles()
	us := &process{pid: os.Getpid(), at: os.Getpid(), nspid: os.Getpid()}
	if f, err = d.look(us, p[1]); err != nil {
		t.Fatal(err)
	}
	f.own = descriptors.NewFD(p[1])
	f = d.files.find(f)
	t.Cleanup(func() { unix.Close(p[0]); d.files.close() })
	return p[0], d, f
}

// send puts one message into the queue, with that many descriptors.
func send(t *testing.T, fd int, data string, files int) {
	t.Helper()
	m := &afunix.Message{Data: []byte(data)}
	for range files {
		m.Files = append(m.Files, fd)
	}
	if err := afunix.Send(fd, m); err != nil {
		t.Fatal(err)
	}
}

func TestReadUnixQueue(t *testing.T) {
	type message struct {
		data  string
		files int
	}
	long := string(bytes.Repeat([]byte("0123456789"), 15000))
	for _, c := range []struct {
		name       string
		kind       int
		sent, read []message
		shut       bool
	}{
		{"empty stream", unix.SOCK_STREAM, nil, nil, false},
		{"empty packets, ended", unix.SOCK_SEQPACKET, nil, nil, true},
		{"bytes", unix.SOCK_STREAM, []message{{"ab", 0}, {"cd", 0}}, []message{{"abcd", 0}}, true},
		{"descriptors in a stream", unix.SOCK_STREAM, []message{{"a", 0}, {"b", 1}, {"c", 2}, {"d", 0}, {"ef", 1}},
			[]message{{"a", 0}, {"b", 1}, {"c", 2}, {"d", 0}, {"ef", 1}}, false},
		{"a long stream", unix.SOCK_STREAM, []message{{long, 0}, {"x", 1}}, []message{{long, 0}, {"x", 1}}, false},
		{"packets", unix.SOCK_SEQPACKET, []message{{"ab", 0}, {"", 0}, {"", 0}, {"cd", 1}, {long[:50000], 0}},
			[]message{{"ab", 0}, {"", 0}, {"", 0}, {"cd", 1}, {long[:50000], 0}}, true},
		{"datagrams", unix.SOCK_DGRAM, []message{{"", 0}, {"ab", 2}, {"", 0}, {long[:20000], 0}},
			[]message{{"", 0}, {"ab", 2}, {"", 0}, {long[:20000], 0}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			sender, d, f := queueOf(t, c.kind)
			for _, m := range c.sent {
				send(t, sender, m.data, m.files)
			}
			s := &specs.UnixSocket{Kind: int32(c.kind), State: "connected", PeekOff: 8}
			if err := unix.SetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 7); err != nil {
				t.Fatal(err)
			}
			if c.shut {
				s.Shutdown = 1
				if err := unix.Shutdown(sender, unix.SHUT_WR); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // what was read is still there
				queue, err := d.readQueue(f, nil, s)
				if err != nil {
					t.Fatal(err)
				}
				var read []message
				for _, m := range queue {
					read = append(read, message{string(m.Data), len(m.Files)})
				}
				if diff := cmp.Diff(c.read, read, cmp.AllowUnexported(message{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			}
			if off, err := unix.GetsockoptInt(f.fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF); err != nil || off != 7 {
				t.Errorf("the peek offset is %d: %v", off, err)
			}
			if want := 1; len(d.files.all) > want+1 {
				t.Errorf("%d descriptions were found, the receiver and the sender are 2", len(d.files.all))
			}
		})
	}
}

func TestSocketOptions(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	drop := []unix.SockFilter{{Code: unix.BPF_RET}, {Code: unix.BPF_RET, K: 1}}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 2, Filter: &drop[0]}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	options, err := socketOptions(fd)
	if err != nil {
		t.Fatal(err)
	}
	found := map[int32]string{}
	var last int32
	for _, o := range options {
		found[o.Name], last = fmt.Sprintf("%x", o.Value), o.Name
	}
	if found[unix.SO_PASSCRED] != "01000000" || found[unix.SO_ATTACH_FILTER] != "06000000000000000600000001000000" {
		t.Errorf("%v", found)
	}
	if last != unix.SO_LOCK_FILTER {
		t.Errorf("the lock of the filter is not the last: %v", options)
	}
}
