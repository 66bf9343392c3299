package restore

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestBecome(t *testing.T) {
	root := &identity{uid: 0, gid: 0, groups: []uint32{0}}
	user := &identity{uid: 1000, gid: 100, groups: []uint32{100, 27}}
	for _, c := range []struct {
		name     string
		from, to *identity
		want     []uint64
	}{
		{"nobody else", root, root, nil},
		{"a user: the user id last", root, user, []uint64{unix.SYS_SETGROUPS, unix.SYS_SETRESGID, unix.SYS_SETRESUID}},
		{"back: the user id first", user, root, []uint64{unix.SYS_SETRESUID, unix.SYS_SETGROUPS, unix.SYS_SETRESGID}},
		{"another group", root, &identity{gid: 5, groups: []uint32{0}}, []uint64{unix.SYS_SETRESGID}},
	} {
		b := &batch{}
		become(b, c.from, c.to, make([]byte, 64), 0x1000)
		var calls []uint64
		for _, call := range b.calls {
			calls = append(calls, call.Nr)
		}
		if !slices.Equal(calls, c.want) {
			t.Errorf("%s: %v, want %v", c.name, calls, c.want)
		}
	}
}

func TestPaired(t *testing.T) {
	accepted := &unixSocket{rec: &specs.UnixSocket{Accepted: true}}
	for _, c := range []struct {
		name string
		s    unixSocket
		want bool
	}{
		{"unconnected", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_STREAM, State: "unconnected"}}, false},
		{"listening", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_STREAM, State: "listening", HasPeerCred: true}}, false},
		{"pair", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_STREAM, State: "connected"}, peer: &unixSocket{rec: &specs.UnixSocket{}}}, true},
		{"client", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_STREAM, State: "connected"}, peer: accepted}, false},
		{"accepted", *accepted, false},
		{"the other is gone", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_SEQPACKET, State: "connected"}}, true},
		{"the server is gone", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_STREAM, State: "connected", PeerName: []byte("/x")}}, false},
		{"datagrams", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_DGRAM, State: "connected"}}, false},
		{"datagram pair", unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_DGRAM, State: "connected", HasPeerCred: true}}, true},
	} {
		if got := (&unixSockets{}).paired(&c.s); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// names binds sockets as a restore does.
func names(t *testing.T) *unixSockets {
	t.Helper()
	space, err := ns.Start(os.Getpid(), ns.Mount)
	if err != nil {
		t.Skip(err)
	}
	u := &unixSockets{space: space, standing: map[string]*unixSocket{}}
	t.Cleanup(u.close)
	return u
}

func TestNamesAndPlaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale")
	l, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = afunix.Bind(l, []byte(stale))
	}
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(l)
	u := names(t)
	for _, c := range []struct{ name, place string }{
		{filepath.Join(dir, "absolute"), filepath.Join(dir, "absolute")},
		{"relative", filepath.Join(dir, "relative")},
		{"a/b/../../up", filepath.Join(dir, "sub", "up")},
		{"/elsewhere/renamed", filepath.Join(dir, "renamed")},
		{stale, stale},
		{"/nowhere/removed", ""},
	} {
		s := &unixSocket{rec: &specs.UnixSocket{Kind: unix.SOCK_DGRAM, Name: []byte(c.name), Path: c.place, Mode: 0o140640, UID: 5, GID: 6, Mtime: 1e18}}
		u.all = append(u.all, s)
		if s.file, err = u.socket(s.rec.Kind); err == nil {
			err = errors.Join(u.bind(s), u.settle(s))
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if name, err := afunix.Name(s.fd()); err != nil || string(name) != c.name {
			t.Errorf("the name is %q, want %q: %v", name, c.name, err)
		}
		if c.place == "" {
			continue
		}
		var stat unix.Stat_t
		if err := unix.Lstat(c.place, &stat); err != nil || stat.Mode != 0o140640 || stat.Uid != 5 || stat.Gid != 6 || stat.Mtim.Nano() != 1e18 {
			t.Errorf("%s: mode %o, owner %d:%d, modified %d: %v", c.place, stat.Mode, stat.Uid, stat.Gid, stat.Mtim.Nano(), err)
		}
		if err := u.space.Do(func() error { return vacant(dirOf(t, c.place), filepath.Base(c.place)) }); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s is in use, and taken for free: %v", c.place, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, ".rethaw*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func dirOf(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := openDir(unix.AT_FDCWD, filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
