//go:build !amd64

package sleeping

import "golang.org/x/sys/unix"

func legacyCalls(func(int, ...uintptr) unix.Errno, func(int64) uintptr, func(int64) uintptr,
	func() uintptr, func() uintptr) map[string]func(int64) unix.Errno {
	return nil
}
