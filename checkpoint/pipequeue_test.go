package checkpoint

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/rethaw/rethaw/internal/descriptors"
	"golang.org/x/sys/unix"
)

// write is one write(2) into a pipe under test.
type write struct {
	length int
	packet bool
}

func TestReadQueue(t *testing.T) {
	for name, c := range map[string]struct {
		size             int
		writes           []write
		packets, streams []uint32
	}{
		"empty":               {},
		"a byte":              {writes: []write{{1, false}}},
		"a stream":            {writes: []write{{5000, false}, {4000, false}, {1, false}}},
		"full":                {writes: []write{{65536, false}}},
		"full of one place":   {size: 4096, writes: []write{{4096, false}}},
		"partial places":      {writes: []write{{3000, false}, {3000, false}, {4096, false}, {1, false}}},
		"a packet":            {writes: []write{{100, true}}, packets: []uint32{100}},
		"a packet of a byte":  {writes: []write{{1, true}}, packets: []uint32{1}},
		"one in one place":    {size: 4096, writes: []write{{7, true}}, packets: []uint32{7}},
		"packets":             {writes: []write{{1, true}, {4096, true}, {2, true}}, packets: []uint32{1, 4096, 2}},
		"a packet, then more": {writes: []write{{10, true}, {20, false}, {5000, false}}, packets: []uint32{10, 5020}, streams: []uint32{1}},
		"a packet at the end": {writes: []write{{8192, false}, {2, true}}, packets: []uint32{8192, 2}, streams: []uint32{0}},
		"a byte at the end":   {writes: []write{{4096, false}, {1, true}}, packets: []uint32{4096, 1}, streams: []uint32{0}},
		"a stream in between": {writes: []write{{3, true}, {9, false}, {4090, true}}, packets: []uint32{3, 9, 4090}, streams: []uint32{1}},
		// A packet that fits behind a stream becomes a part of it (fs/pipe.c).
		"a merged packet": {writes: []write{{50, false}, {60, true}}},
		"a big pipe":      {size: 1 << 20, writes: []write{{1 << 20, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := pipe(t)
			size := 65536
			if c.size != 0 {
				var err error
				if size, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, c.size); err != nil {
					t.Skip("size of the pipe:", err)
				}
			}
			var want []byte
			for i, x := range c.writes {
				flags := unix.O_NONBLOCK
				if x.packet {
					flags |= unix.O_DIRECT
				}
				if _, err := unix.FcntlInt(w.Fd(), unix.F_SETFL, flags); err != nil {
					t.Fatal(err)
				}
				b := bytes.Repeat([]byte{byte('a' + i)}, x.length)
				if n, err := unix.Write(int(w.Fd()), b); n != len(b) || err != nil {
					t.Fatal(n, err)
				}
				want = append(want, b...)
			}
			for _, end := range []*os.File{r, w} {
				q, err := readQueue(int(end.Fd()), end == r, size)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(q.data, want) || !slices.Equal(q.packets, c.packets) || !slices.Equal(q.streams, c.streams) {
					t.Errorf("%d bytes, packets %v, streams %v", len(q.data), q.packets, q.streams)
				}
			}
			if n, err := unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); n != len(want) || err != nil {
				t.Errorf("%d bytes are left in the pipe, %v", n, err)
			}
		})
	}
}

// TestReadQueueWithoutReader reads what nobody can read any more.
func TestReadQueueWithoutReader(t *testing.T) {
	r, w := pipe(t)
	if _, err := w.WriteString("left"); err != nil {
		t.Fatal(err)
	}
	r.Close()
	q, err := readQueue(int(w.Fd()), false, 65536)
	if err != nil || string(q.data) != "left" {
		t.Fatalf("%q, %v", q.data, err)
	}
	if got, err := ready(w.Fd(), unix.POLLOUT); got&unix.POLLERR == 0 || err != nil {
		t.Errorf("the pipe has a reader: %#x, %v", got, err)
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

func TestFIFOWritten(t *testing.T) {
	path := t.TempDir() + "/fifo"
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(flags int) *descriptors.FD {
		fd, err := unix.Open(path, flags|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := descriptors.NewFD(fd)
		t.Cleanup(func() { f.Close() })
		return f
	}
	r := &openFile{own: open(unix.O_RDONLY)}
	if written, err := fifoWritten(r); written || err != nil {
		t.Errorf("without a writer: %v, %v", written, err)
	}
	open(unix.O_WRONLY)
	if written, err := fifoWritten(r); !written || err != nil {
		t.Errorf("with a writer: %v, %v", written, err)
	}
}
