package descriptors

import (
	"errors"
	"os"
	"testing"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

func TestRoom(t *testing.T) {
	if err := Room(700); err != nil {
		t.Fatal(err)
	}
	status, err := procfs.ReadStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if status.FDSize < 700 {
		t.Errorf("the table has room for %d", status.FDSize)
	}
	limits, err := procfs.ReadLimits(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The kernel gives nobody more than fs.nr_open.
	const beyond = 1 << 31
	err = Room(beyond)
	if !errors.Is(err, ErrTooMany) {
		t.Errorf("room for %d: %v", beyond, err)
	}
	if after, _ := procfs.ReadLimits(os.Getpid()); after[unix.RLIMIT_NOFILE][1] != limits[unix.RLIMIT_NOFILE][1] {
		t.Errorf("the hard limit was %d and is %d", limits[unix.RLIMIT_NOFILE][1], after[unix.RLIMIT_NOFILE][1])
	}
}
