package checkpoint

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIsSemaphore(t *testing.T) {
	for _, flag := range []int{0, unix.EFD_SEMAPHORE} {
		for _, count := range []uint64{0, 1, 2, 3, 1000, math.MaxUint64 - 1} {
			fd, err := unix.Eventfd(0, flag|unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if count > 0 {
				if err := addEvents(fd, count); err != nil {
					t.Fatal(err)
				}
			}
			got, err := isSemaphore(fd, count)
			if err != nil || got != (flag != 0) {
				t.Errorf("count %d, flag %#x: %v, %v", count, flag, got, err)
			}
			want := count
			if flag != 0 && count > 0 {
				want = 1
			}
			if now, err := takeEvents(fd); now != want || (count == 0) != (err == unix.EAGAIN) {
				t.Errorf("count %d, flag %#x: a read then gives %d, %v", count, flag, now, err)
			}
			if flag != 0 && count > 1 {
				addBack(t, fd, count)
			}
		}
	}
}

// addBack sees by the room that is left that a semaphore has count-1.
func addBack(t *testing.T, fd int, count uint64) {
	t.Helper()
	if err := addEvents(fd, math.MaxUint64-1-(count-1)); err != nil && count-1 != math.MaxUint64-1 {
		t.Errorf("count %d is more now: %v", count, err)
	}
	if err := addEvents(fd, 1); err != unix.EAGAIN {
		t.Errorf("count %d is less now: %v", count, err)
	}
}
