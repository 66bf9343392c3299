package afunix

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func socket(t *testing.T, kind int) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func pair(t *testing.T, kind int) [2]int {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func look(t *testing.T, fd int) Info {
	t.Helper()
	diag, err := DiagSocket()
	if err != nil {
		t.Skip(err)
	}
	defer diag.Close()
	all, err := Dump(diag)
	if err != nil {
		t.Skip(err)
	}
	for _, i := range all {
		if i.Inode == inode(t, fd) {
			return i
		}
	}
	t.Fatalf("socket %d is not in the dump", fd)
	return Info{}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range [][]byte{
		[]byte(filepath.Join(dir, "s")),
		append([]byte(filepath.Join(dir)+"/"), bytes.Repeat([]byte("x"), 108-len(dir)-1)...),
		[]byte("\x00rethaw\x00test\x00"), []byte("\x00@rethaw"),
	} {
		server, client := socket(t, unix.SOCK_DGRAM), socket(t, unix.SOCK_DGRAM)
		if err := Bind(server, name); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if err := Connect(client, name); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		got, err := Name(server)
		if err != nil || !bytes.Equal(got, name) {
			t.Errorf("name is %q, want %q: %v", got, name, err)
		}
		got, err = PeerName(client)
		if err != nil || !bytes.Equal(got, name) {
			t.Errorf("peer's name is %q, want %q: %v", got, name, err)
		}
		if i := look(t, server); !bytes.Equal(i.Name, name) || i.Type != unix.SOCK_DGRAM {
			t.Errorf("%q in the dump: %+v", name, i)
		}
		if err := Connect(client, nil); err != nil {
			t.Error(err)
		}
		if _, err := PeerName(client); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("still connected: %v", err)
		}
	}
	if _, err := Encode(make([]byte, 109)); !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("a name of 109 bytes: %v", err)
	}
}

func TestDump(t *testing.T) {
	p := pair(t, unix.SOCK_STREAM)
	if i := look(t, p[0]); i.State != Established || !i.HasPeer || i.Peer != inode(t, p[1]) || i.Shutdown != 0 {
		t.Errorf("a pair: %+v", i)
	}
	if err := unix.Shutdown(p[0], unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if i := look(t, p[1]); i.Shutdown != 1 {
		t.Errorf("half a pair: %+v", i)
	}
	gone := pair(t, unix.SOCK_SEQPACKET)
	unix.Close(gone[0])
	if i := look(t, gone[1]); !i.HasPeer || i.Peer != 0 || i.Shutdown != 3 {
		t.Errorf("the other end is gone: %+v", i)
	}
	server, client, quick := socket(t, unix.SOCK_STREAM), socket(t, unix.SOCK_STREAM), socket(t, unix.SOCK_STREAM)
	name := []byte("\x00rethaw test dump")
	for _, err := range []error{Bind(server, name), unix.Listen(server, 7), Connect(client, name), Connect(quick, name), unix.Close(quick)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	i := look(t, server)
	if i.State != Listen || i.Sent != 7 || i.Received != 2 || len(i.Pending) != 2 || i.Pending[0] != inode(t, client) || i.Pending[1] != 0 {
		t.Errorf("a listening socket: %+v", i)
	}
	if i := look(t, client); i.State != Established || !i.HasPeer || i.Peer != 0 || i.Shutdown != 0 {
		t.Errorf("a connection that waits: %+v", i)
	}
}

func TestMessages(t *testing.T) {
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		p := pair(t, kind)
		if err := unix.SetsockoptInt(p[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			t.Fatal(err)
		}
		sent := &Message{Data: []byte("hello"), Files: []int{p[0], 1}, Creds: &unix.Ucred{Pid: int32(unix.Getpid())}}
		if err := Send(p[0], sent); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			buf := make([]byte, 3)
			m, err := Peek(p[1], buf)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Data) != "hel" || len(m.Files) != 2 || m.Cut || m.Creds == nil || m.Creds.Pid != sent.Creds.Pid {
				t.Errorf("kind %d: %+v", kind, m)
			}
			if want := map[int]int{unix.SOCK_STREAM: 3}[kind]; m.Length != 5 && m.Length != want {
				t.Errorf("kind %d: length %d", kind, m.Length)
			}
			if inode(t, m.Files[0]) != inode(t, p[0]) {
				t.Errorf("kind %d: another descriptor came out", kind)
			}
			m.Close()
		}
	}
}

func TestBegin(t *testing.T) {
	p := pair(t, unix.SOCK_STREAM)
	for _, s := range []string{"one ", "two ", "three"} {
		if err := Send(p[0], &Message{Data: []byte(s), Files: []int{0}[:len(s)-4]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetsockoptInt(p[1], unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ off, size, want int }{{0, 13, 8}, {0, 8, 4}, {0, 4, 0}, {8, 5, 0}, {2, 11, 6}, {12, 1, 0}} {
		if err := unix.SetsockoptInt(p[1], unix.SOL_SOCKET, unix.SO_PEEK_OFF, c.off); err != nil {
			t.Fatal(err)
		}
		if got, err := Begin(p[1], c.size); err != nil || got != c.want {
			t.Errorf("from %d on, %d bytes: the last piece begins after %d, want %d: %v", c.off, c.size, got, c.want, err)
		}
	}
}

func TestFile(t *testing.T) {
	s := socket(t, unix.SOCK_STREAM)
	if _, err := File(s); !errors.Is(err, unix.ENOENT) {
		if errors.Is(err, unix.EPERM) {
			t.Skip(err)
		}
		t.Errorf("a socket without a name: %v", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	if err := Bind(s, []byte(path)); err != nil {
		t.Fatal(err)
	}
	f, err := File(s)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var a, b unix.Stat_t
	if err := errors.Join(unix.Fstat(int(f.Fd()), &a), unix.Lstat(path, &b)); err != nil || a.Ino != b.Ino || uint32(a.Ino) != look(t, s).FileInode {
		t.Errorf("another file: %d, %d, %v", a.Ino, b.Ino, err)
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{20, 0, 0, 0, 3, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{
		56, 0, 0, 0, 20, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0,
		1, 1, 10, 0, 99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
		6, 0, 0, 0, 0, 'n', 0, 0,
		12, 0, 4, 0, 1, 0, 0, 0, 7, 0, 0, 0,
		5, 0, 6, 0,
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		infos, _, err := ParseDump(b)
		if err == nil && len(infos)*messageSize > len(b) {
			t.Errorf("%d sockets in %d bytes", len(infos), len(b))
		}
	})
}
