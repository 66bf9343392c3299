package watchdog

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// served gives a Dog whose orders are carried out by this process.
func served(t *testing.T) (*Dog, <-chan error) {
	t.Helper()
	ended := make(chan error, 1)
	return &Dog{Launch: func() (*Leash, error) {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		go func() {
			ended <- serve(pair[1])
			unix.Close(pair[1])
		}()
		return &Leash{orders: os.NewFile(uintptr(pair[0]), "watchdog")}, nil
	}}, ended
}

func TestUndo(t *testing.T) {
	dog, ended := served(t)
	dir := t.TempDir()
	kept, undone, later := filepath.Join(dir, "kept"), filepath.Join(dir, "undone"), filepath.Join(dir, "later")
	forget, err := dog.Guard(Undo{Write: &Write{kept, "x"}}, -1)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []Undo{{Write: &Write{undone, "second"}}, {Write: &Write{undone, "first"}}, {Write: &Write{later, "y"}}} {
		if _, err := dog.Guard(u, -1); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{kept, undone, later} {
		if err := os.WriteFile(path, []byte("as it was"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if err := dog.Close(); err != nil { // as our death would
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{kept: "as it was", undone: "second", later: "y"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q, want %q: %v", filepath.Base(path), got, want, err)
		}
	}
}

func TestUndoOptions(t *testing.T) {
	dog, ended := served(t)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	forget, err := dog.Guard(Undo{Options: []Option{{unix.SOL_SOCKET, unix.SO_RCVLOWAT, 7}}}, pair[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dog.Guard(Undo{Options: []Option{{unix.SOL_SOCKET, unix.SO_PEEK_OFF, -1}}}, pair[0]); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEEK_OFF, 5); err != nil {
		t.Fatal(err)
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	if err := dog.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if off, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEEK_OFF); err != nil || off != -1 {
		t.Errorf("SO_PEEK_OFF is %d, %v", off, err)
	}
	if low, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_RCVLOWAT); err != nil || low == 7 {
		t.Errorf("SO_RCVLOWAT is %d, %v", low, err)
	}
}

func TestNoDog(t *testing.T) {
	var none *Dog
	forget, err := none.Guard(Undo{}, -1)
	if err != nil || forget() != nil || none.Close() != nil {
		t.Errorf("without a watchdog something fails: %v", err)
	}
}

// TestWhile undoes for a process that lives, and not for one that is dead.
func TestWhile(t *testing.T) {
	stat, err := procfs.ReadStat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		who  Process
		done bool
	}{
		{"living", Process{os.Getpid(), stat.StartTime}, true},
		{"other with its pid", Process{os.Getpid(), stat.StartTime + 1}, false},
		{"dead", Process{1 << 22, 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dog, ended := served(t)
			path := filepath.Join(t.TempDir(), "file")
			if _, err := dog.Guard(Undo{Write: &Write{path, "x"}, While: &c.who}, -1); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := dog.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if got, _ := os.ReadFile(path); (string(got) == "x") != c.done {
				t.Errorf("the file holds %q", got)
			}
		})
	}
}

// TestRepair ends the repair mode of a connection whose tracer died.
func TestRepair(t *testing.T) {
	door, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	conn, err := net.Dial("tcp4", door.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	dog, ended := served(t)
	if ready, err := dog.Ready(); !ready || err != nil {
		t.Fatalf("the watchdog is not ready: %v", err)
	}
	off := []Option{{unix.IPPROTO_TCP, unix.TCP_REPAIR, -1}, {unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}}
	if _, err := dog.Guard(Undo{Options: off}, fd); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil {
		t.Skip("repair mode needs CAP_NET_ADMIN:", err)
	}
	if err := dog.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for _, o := range []Option{{unix.IPPROTO_TCP, unix.TCP_REPAIR, 0}, {unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}} {
		if got, err := unix.GetsockoptInt(fd, o.Level, o.Name); err != nil || got != o.Value {
			t.Errorf("option %d is %d, not %d: %v", o.Name, got, o.Value, err)
		}
	}
}
