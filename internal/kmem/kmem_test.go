package kmem

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/rethaw/rethaw/internal/osthread"
	"golang.org/x/sys/unix"
)

func open(t *testing.T) *Reader {
	t.Helper()
	r, err := Open()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(r.Close)
	return r
}

func TestOwnTask(t *testing.T) {
	r := open(t)
	at, err := r.Follow(r.task, "task_struct.tgid&")
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := r.Half(at); err != nil || int(pid) != os.Getpid() {
		t.Errorf("our pid is %d there, not %d: %v", pid, os.Getpid(), err)
	}
	if _, err := r.Word(8); err == nil {
		t.Error("there is something at address 8")
	}
	if _, err := r.Offset("task_struct.nonsense"); err == nil {
		t.Error("a field that does not exist was found")
	}
}

func TestPages(t *testing.T) {
	r := open(t)
	mem, err := unix.Mmap(-1, 0, 2*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	copy(mem, "what we have written")
	page, err := r.structPage(mem[:os.Getpagesize()])
	if err != nil {
		t.Fatal(err)
	}
	addr, err := r.PageAddress(page)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Bytes(addr+5, 11); err != nil || string(got) != "we have wri" {
		t.Errorf("our page is %q there: %v", got, err)
	}
	if got, err := r.Bytes(addr, os.Getpagesize()); err != nil || !bytes.Equal(got, mem[:len(got)]) {
		t.Errorf("the whole page differs: %v", err)
	}
}

// sample is a BTF file: a struct s {int a; struct {union {int b; int c}}}.
func sample() []byte {
	e := binary.NativeEndian
	word := func(words ...uint32) (b []byte) {
		for _, w := range words {
			b = e.AppendUint32(b, w)
		}
		return b
	}
	text := []byte("\x00int\x00s\x00a\x00b\x00c\x00")
	types := bytes.Join([][]byte{
		word(1, kindInt<<24, 4, 32),
		word(0, kindUnion<<24|2, 4, 9, 1, 0, 11, 1, 0),
		word(0, kindStruct<<24|1, 4, 0, 2, 0),
		word(5, kindStruct<<24|2, 8, 7, 1, 0, 0, 3, 32),
	}, nil)
	head := append([]byte{0, 0, 1, 0}, word(24, 0, uint32(len(types)), uint32(len(types)), uint32(len(text)))...)
	e.PutUint16(head, btfMagic)
	return append(append(head, types...), text...)
}

func TestTypes(t *testing.T) {
	types, err := parseTypes(sample())
	if err != nil {
		t.Fatal(err)
	}
	id, size, err := types.Struct("s")
	if err != nil || size != 8 {
		t.Fatalf("struct s has %d bytes: %v", size, err)
	}
	for member, want := range map[string]int{"a": 0, "b": 4, "c": 4} {
		if off, ok := types.Offset(id, member); !ok || off != want {
			t.Errorf("%s is at %d, want %d", member, off, want)
		}
	}
	if _, ok := types.Offset(id, "d"); ok {
		t.Error("d was found")
	}
	if _, _, err := types.Struct("t"); err == nil {
		t.Error("struct t was found")
	}
}

func FuzzTypes(f *testing.F) {
	f.Add(sample())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		types, err := parseTypes(b)
		if err != nil {
			return
		}
		if id, _, err := types.Struct("s"); err == nil {
			types.Offset(id, "c")
		}
	})
}

// TestThreadEnds opens the reader on a thread that ends before it is used.
func TestThreadEnds(t *testing.T) {
	opened := make(chan *Reader)
	go osthread.Run(func() {
		r, err := Open()
		if err != nil {
			t.Log(err)
		}
		opened <- r
	})
	r := <-opened
	if r == nil {
		t.Skip("the kernel's memory cannot be read here")
	}
	defer r.Close()
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 50 {
		if _, err := r.File(int(file.Fd())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}
