package kmem

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestEventfdSemaphore(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Skip(err)
	}
	defer r.Close()
	for _, flags := range []int{0, unix.EFD_SEMAPHORE, unix.EFD_NONBLOCK, unix.EFD_SEMAPHORE | unix.EFD_NONBLOCK | unix.EFD_CLOEXEC} {
		fd, err := unix.Eventfd(3, flags)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if is, err := r.EventfdSemaphore(fd); err != nil || is != (flags&unix.EFD_SEMAPHORE != 0) {
			t.Errorf("flags %#x: %v, %v", flags, is, err)
		}
	}
}
