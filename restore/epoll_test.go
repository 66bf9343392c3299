package restore

import (
	"testing"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

func TestFired(t *testing.T) {
	for events, want := range map[uint32]bool{
		unix.EPOLLONESHOT: true,
		unix.EPOLLONESHOT | unix.EPOLLET&0xffffffff:       true,
		unix.EPOLLONESHOT | unix.EPOLLERR | unix.EPOLLHUP: false,
		unix.EPOLLONESHOT | unix.EPOLLIN:                  false,
		unix.EPOLLIN | unix.EPOLLERR | unix.EPOLLHUP:      false,
		unix.EPOLLET & 0xffffffff:                         false,
	} {
		if got := fired(&specs.Watch{Events: events}); got != want {
			t.Errorf("%#x: %v", events, got)
		}
	}
}
