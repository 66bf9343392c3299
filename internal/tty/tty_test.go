package tty

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rethaw/rethaw/internal/kmem"
	"golang.org/x/sys/unix"
)

// open makes a pair and opens its slave, and skips where bytes cannot be typed.
func open(t *testing.T) (master, slave *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	master = os.NewFile(uintptr(fd), "master")
	t.Cleanup(func() { master.Close() })
	if err := SetLocked(master, false); err != nil {
		t.Fatal(err)
	}
	if slave, err = Peer(master); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	if err := push(slave, []byte("x\n")); errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN, for TIOCSTI: ", err)
	}
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCFLSH, unix.TCIOFLUSH); err != nil {
		t.Fatal(err)
	}
	read(t, master) // the echo
	return master, slave
}

// read takes what waits for a reader within a short time.
func read(t *testing.T, f *os.File) string {
	t.Helper()
	var b []byte
	for quiet := 0; quiet < 3; {
		events, err := ready(f, unix.POLLIN)
		if err != nil {
			t.Fatal(err)
		}
		if events&unix.POLLIN == 0 {
			quiet++
			time.Sleep(2 * time.Millisecond)
			continue
		}
		if b, err = appendRead(b, f); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

// set changes the settings.
func set(t *testing.T, f *os.File, change func(*unix.Termios)) {
	t.Helper()
	s, err := termios(f)
	if err != nil {
		t.Fatal(err)
	}
	change(s)
	if err := setTermios(f, s); err != nil {
		t.Fatal(err)
	}
}

func raw(s *unix.Termios) {
	s.Iflag, s.Oflag, s.Lflag = 0, 0, 0
	s.Cc[unix.VMIN], s.Cc[unix.VTIME] = 200, 0
}

func noEcho(s *unix.Termios) { s.Lflag &^= unix.ECHO }

// TestQueues types and prints, takes it, and takes it again from the same pair
// and from one that was filled with it.
func TestQueues(t *testing.T) {
	for name, c := range map[string]struct {
		change         func(*unix.Termios)
		packet         bool
		typed, printed string
		want           Queues
	}{
		"empty":     {change: raw},
		"no line":   {change: noEcho},
		"raw":       {change: raw, typed: "a\x03\x04\r\n\xff", want: Queues{Rest: []byte("a\x03\x04\r\n\xff")}},
		"printed":   {change: raw, printed: "out\n", want: Queues{Output: []byte("out\n")}},
		"processed": {change: noEcho, printed: "out\n", want: Queues{Output: []byte("out\r\n")}},
		"packet":    {change: raw, packet: true, printed: "out", want: Queues{Output: []byte("out")}},
		"echo": {
			change: func(*unix.Termios) {}, typed: "ab\x7fc\n\x16\x03",
			want: Queues{Lines: [][]byte{[]byte("ac\n")}, Rest: []byte("\x03"), Output: []byte("ab\b \bc\r\n^\b^C")},
		},
		"lines": {
			change: noEcho, typed: "one\ntwo\x04\x04three",
			want: Queues{Lines: [][]byte{[]byte("one\n"), []byte("two"), nil}, Rest: []byte("three")},
		},
		"ends of its own": {
			change: func(s *unix.Termios) { noEcho(s); s.Cc[unix.VEOL], s.Cc[unix.VEOL2] = 1, 2 }, typed: "one\x01two\x02x",
			want: Queues{Lines: [][]byte{[]byte("one\x01"), []byte("two\x02")}, Rest: []byte("x")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := open(t)
			set(t, slave, c.change)
			if err := SetPacket(master, c.packet); err != nil {
				t.Fatal(err)
			}
			if _, err := master.WriteString(c.typed); err != nil {
				t.Fatal(err)
			}
			if _, err := slave.WriteString(c.printed); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			before, err := Get(slave)
			if err != nil {
				t.Fatal(err)
			}
			peek := openKernel(t)
			if q, err := peek(master); err != nil || !cmp.Equal(c.want, q, cmp.Comparer(bytes.Equal)) {
				t.Errorf("seen (-want +got): %v\n%s", err, cmp.Diff(c.want, q, cmp.Comparer(bytes.Equal)))
			}
			for range 2 {
				q, err := Take(master)
				if diff := cmp.Diff(c.want, q, cmp.Comparer(bytes.Equal)); err != nil || diff != "" {
					t.Fatalf("%v (-want +got):\n%s", err, diff)
				}
			}
			if after, err := Get(slave); err != nil || !cmp.Equal(before, after) {
				t.Errorf("settings changed: %v\n%s", err, cmp.Diff(before, after))
			}
			if packet, err := Packet(master); err != nil || packet != c.packet {
				t.Errorf("packet mode %v, %v", packet, err)
			}
			other, otherSlave := open(t)
			if err := Fill(other, otherSlave, before, c.want); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			if q, err := peek(other); err != nil || !cmp.Equal(c.want, q, cmp.Comparer(bytes.Equal)) {
				t.Errorf("seen in the other (-want +got): %v\n%s", err, cmp.Diff(c.want, q, cmp.Comparer(bytes.Equal)))
			}
			if q, err := Take(other); err != nil || !cmp.Equal(c.want, q, cmp.Comparer(bytes.Equal)) {
				t.Errorf("filled with %+v, holds %+v: %v", c.want, q, err)
			}
			if after, err := Get(otherSlave); err != nil || !cmp.Equal(before.Termios, after.Termios) {
				t.Errorf("settings of the other: %v\n%s", err, cmp.Diff(before, after))
			}
		})
	}
}

// openKernel gives Peek, or Take where the kernel's memory cannot be read.
func openKernel(t *testing.T) func(*os.File) (Queues, error) {
	t.Helper()
	k, err := kmem.Open()
	if err != nil {
		t.Log(err)
		return Take
	}
	t.Cleanup(k.Close)
	return func(master *os.File) (Queues, error) { return Peek(k, master) }
}

// TestPeek looks at what Take would have to refuse, fills another pair with it
// and looks again.
func TestPeek(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*unix.Termios)
		prepare func(master, slave *os.File) error
		want    Queues
	}{
		"stopped": {noEcho, func(_, slave *os.File) error { return push(slave, []byte{'S' - '@'}) }, Queues{Stopped: true}},
		"suspended": {noEcho, func(_, slave *os.File) error {
			return unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOOFF)
		}, Queues{Suspended: true}},
		"next": {noEcho, func(_, slave *os.File) error { return push(slave, []byte("a\x16")) }, Queues{Rest: []byte("a"), Next: true}},
		"full": {raw, func(master, _ *os.File) error {
			_, err := master.Write(bytes.Repeat([]byte("x"), 5000))
			return err
		}, Queues{Rest: bytes.Repeat([]byte("x"), 4095), Typed: bytes.Repeat([]byte("x"), 905)}},
		"full of lines": {noEcho, func(master, _ *os.File) error {
			_, err := master.Write(bytes.Repeat([]byte("line \n"), 1000))
			return err
		}, Queues{
			Lines: slices.Repeat([][]byte{[]byte("line \n")}, 682), Rest: []byte("lin"),
			Typed: []byte("e \n" + strings.Repeat("line \n", 317)),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			peek := openKernel(t)
			master, slave := open(t)
			set(t, slave, c.change)
			if err := c.prepare(master, slave); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			s, err := Get(slave)
			if err != nil {
				t.Fatal(err)
			}
			q, err := peek(master)
			if errors.Is(err, ErrStopped) || errors.Is(err, ErrFull) {
				t.Skip("the kernel's memory cannot be read")
			}
			if diff := cmp.Diff(c.want, q, cmp.Comparer(bytes.Equal)); err != nil || diff != "" {
				t.Fatalf("%v (-want +got):\n%s", err, diff)
			}
			other, otherSlave := open(t)
			if err := Fill(other, otherSlave, s, q); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Millisecond)
			q, err = peek(other)
			if diff := cmp.Diff(c.want, q, cmp.Comparer(bytes.Equal)); err != nil || diff != "" {
				t.Fatalf("the other: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestLargeOutput takes more than the line discipline of the master holds.
func TestLargeOutput(t *testing.T) {
	master, slave := open(t)
	want := bytes.Repeat([]byte("0123456789\n"), 700)
	set(t, slave, raw)
	if n, err := slave.Write(want); n != len(want) {
		t.Skipf("%d of %d bytes fit: %v", n, len(want), err)
	}
	for range 2 {
		q, err := Take(master)
		if err != nil || !bytes.Equal(q.Output, want) {
			t.Fatalf("%d of %d bytes: %v", len(q.Output), len(want), err)
		}
	}
	if got := read(t, master); got != string(want) {
		t.Errorf("the reader gets %d of %d bytes", len(got), len(want))
	}
}

// TestRefusals: what cannot be put back is not taken.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(t *testing.T, master, slave *os.File)
		want    error
	}{
		"stopped": {func(t *testing.T, master, slave *os.File) {
			if err := push(slave, []byte{'S' - 64}); err != nil {
				t.Fatal(err)
			}
			read(t, master)
		}, ErrStopped},
		"full": {func(t *testing.T, master, slave *os.File) {
			set(t, slave, raw)
			if _, err := master.Write(make([]byte, 5000)); err != nil {
				t.Fatal(err)
			}
		}, ErrFull},
		"packet": {func(t *testing.T, master, slave *os.File) {
			if err := SetPacket(master, true); err != nil {
				t.Fatal(err)
			}
			if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCFLSH, unix.TCIFLUSH); err != nil {
				t.Fatal(err)
			}
		}, ErrTelling},
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := open(t)
			c.prepare(t, master, slave)
			time.Sleep(5 * time.Millisecond)
			if q, err := Take(master); !errors.Is(err, c.want) || !q.Empty() {
				t.Errorf("took %+v: %v, want %v", q, err, c.want)
			}
		})
	}
}

// TestState: what is set is seen.
func TestState(t *testing.T) {
	master, slave := open(t)
	if n, err := Number(master); err != nil || n < 0 {
		t.Error(n, err)
	} else if dev, err := Device(slave); err != nil || unix.Major(dev) != SlaveMajor || int(unix.Minor(dev)) != n {
		t.Errorf("device %x of %d: %v", dev, n, err)
	}
	if ordinary, err := Discipline(slave); err != nil || !ordinary {
		t.Error("line discipline: ", ordinary, err)
	}
	size := []byte{24, 0, 80, 0, 1, 0, 2, 0}
	if err := SetSize(master, size); err != nil {
		t.Fatal(err)
	}
	if got, err := Size(slave); err != nil || !bytes.Equal(got, size) {
		t.Error(got, err)
	}
	if err := SetLocked(master, true); err != nil {
		t.Fatal(err)
	}
	peer, err := Peer(master)
	if err != nil {
		t.Fatal(err)
	}
	peer.Close()
	if locked, err := Locked(master); err != nil || !locked {
		t.Error("the lock is gone: ", err)
	}
	if opened, err := Opened(master); err != nil || opened {
		t.Error("closed, but it is open: ", err)
	}
	slave.Close()
	if opened, err := Opened(master); err != nil || !opened {
		t.Error("not closed: ", err)
	}
	peer, err = Peer(master)
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	if HungUp(peer) {
		t.Error("has hung up")
	}
	master.Close()
	if !HungUp(peer) {
		t.Error("has not hung up")
	}
}

// TestFixed sets fixed settings.
func TestFixed(t *testing.T) {
	_, slave := open(t)
	s, err := Get(slave)
	if err != nil {
		t.Fatal(err)
	}
	s.Fixed = make([]byte, fixedSize)
	s.Fixed[12] = unix.ISIG
	if err := Set(slave, s); err != nil {
		t.Fatal(err)
	}
	if got, err := Get(slave); err != nil || !cmp.Equal(got, s) {
		t.Errorf("%v\n%s", err, cmp.Diff(s, got))
	}
	s.Fixed = s.Fixed[1:]
	if err := Set(slave, s); err == nil {
		t.Error("a structure of a wrong size was taken")
	}
}
