package kernel

import (
	"golang.org/x/sys/unix"
)

// tryTimeNamespace unshares the time namespace of a thread that ends at once.
func tryTimeNamespace() error {
	return onThread(func() error {
		return missing(wrap("unshare(CLONE_NEWTIME)", unix.Unshare(unix.CLONE_NEWTIME)), unix.EINVAL)
	})
}

// tryOpenTree makes a detached copy of a mount.
func tryOpenTree() error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return missing(wrap("open_tree", err))
	}
	return unix.Close(fd)
}
