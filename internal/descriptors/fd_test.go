package descriptors

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFD(t *testing.T) {
	for _, asFile := range []bool{false, true} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(p[1])
		fd := NewFD(p[0])
		if asFile {
			if a, b := fd.File("pipe"), fd.File("pipe"); a != b {
				t.Error("two files of one descriptor: both would close it")
			}
		}
		if flags, err := unix.FcntlInt(fd.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %#x, %v: O_NONBLOCK is the program's", flags, err)
		}
		if err := fd.Close(); err != nil {
			t.Error(err)
		}
		if _, err := unix.FcntlInt(uintptr(p[0]), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("after the end it is open: %v", err)
		}
	}
}
