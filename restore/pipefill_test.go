package restore

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestPutPieces(t *testing.T) {
	for name, c := range map[string]struct {
		rec   specs.Pipe
		reads []int
	}{
		"nothing":   {},
		"a stream":  {specs.Pipe{Data: make([]byte, 9000)}, []int{9000}},
		"packets":   {specs.Pipe{Data: make([]byte, 5003), Packets: []uint32{1, 1000, 4000, 2}}, []int{1, 1000, 4000, 2}},
		"mixed":     {specs.Pipe{Data: make([]byte, 36), Packets: []uint32{5, 6, 25}, Streams: []uint32{0, 2}}, []int{11, 25}},
		"at an end": {specs.Pipe{Data: make([]byte, 5005), Packets: []uint32{5000, 5}, Streams: []uint32{0}}, []int{5005}},
	} {
		r, w := pipe(t)
		if _, err := unix.FcntlInt(w.Fd(), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
			t.Fatal(err)
		}
		for i := range c.rec.Data {
			c.rec.Data[i] = byte(i * 7)
		}
		if err := putPieces(w, c.rec.Data, &c.rec); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		w.Close()
		var reads []int
		var all []byte
		b := make([]byte, 1<<17)
		for {
			n, err := unix.Read(int(r.Fd()), b)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			reads, all = append(reads, n), append(all, b[:n]...)
		}
		if !slices.Equal(reads, c.reads) || !bytes.Equal(all, c.rec.Data) {
			t.Errorf("%s: reads give %v, want %v; same bytes: %v", name, reads, c.reads, bytes.Equal(all, c.rec.Data))
		}
	}
}

func TestPutPiecesBad(t *testing.T) {
	for _, rec := range []specs.Pipe{
		{Data: []byte("ab"), Packets: []uint32{3}},
		{Data: []byte("ab"), Packets: []uint32{1}},
		{Data: []byte("ab"), Packets: []uint32{1, 0xffffffff}},
	} {
		_, w := pipe(t)
		if err := putPieces(w, rec.Data, &rec); err == nil {
			t.Errorf("%v accepted", rec.Packets)
		}
	}
	_, w := pipe(t)
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	if err := putPieces(w, make([]byte, 70000), &specs.Pipe{}); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("more than fits: %v", err)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	// One of os.Pipe is set to block whenever its number is asked for.
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(fds[0]), "read end"), os.NewFile(uintptr(fds[1]), "write end")
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func TestWithName(t *testing.T) {
	dir := t.TempDir()
	for _, taken := range []bool{false, true} {
		path := dir + "/fifo"
		if taken {
			if err := os.WriteFile(path, []byte("other"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		link := ""
		err := withName(path, func(name string) error { return unix.Mkfifo(name, 0o600) }, func() error {
			f, err := testRestorer(t).openEnd(path, unix.O_RDWR)
			if err == nil {
				t.Cleanup(func() { f.Close() })
				defer func() { link, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))) }()
			}
			return err
		})
		if err != nil || link != path {
			t.Errorf("taken %v: %q, %v", taken, link, err)
		}
		text, err := os.ReadFile(path)
		if taken && string(text) != "other" || !taken && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("taken %v: afterwards the name leads to %q, %v", taken, text, err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 1 {
			t.Errorf("left behind: %v", names)
		}
	}
}
