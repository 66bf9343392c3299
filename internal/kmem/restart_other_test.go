//go:build !amd64

package kmem

import "golang.org/x/sys/unix"

// pollFor has no poll(2) here.
func pollFor(*unix.Timespec) unix.Errno { return unix.ENOSYS }
