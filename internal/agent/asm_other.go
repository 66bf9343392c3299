//go:build !amd64 && !arm64

package agent

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

func clonePwrite(*cloneArgs, uintptr, *pwrite) int { return -int(unix.ENOSYS) }

func cloneExec(*cloneArgs, uintptr, *execute) int { return -int(unix.ENOSYS) }

func supported() error {
	return fmt.Errorf("%s is not supported yet: %w", runtime.GOARCH, errors.ErrUnsupported)
}
