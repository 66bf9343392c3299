package rig

import (
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/osthread"
)

// WithUmask calls f on a thread with a umask of its own, which the programs that f starts have too.
func WithUmask(mask int, f func()) error {
	var err error
	done := make(chan struct{})
	go osthread.Run(func() {
		defer close(done) // even if f ends its goroutine
		// The umask goes with the working directory, which Go's threads have in common.
		if err = unix.Unshare(unix.CLONE_FS); err != nil {
			return
		}
		unix.Umask(mask)
		f()
	})
	<-done
	return err
}
