package hook

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/ask"
)

// createContainer mounts the agent's socket in the container. The hook runs in the
// container's namespaces, and the root is that of the host still.
func createContainer(s *runtimespec.State, w *Wishes) error {
	if !w.OnRequest {
		return nil
	}
	c, err := readConfig(s.Bundle)
	if err != nil {
		return err
	}
	rootfs, err := c.rootfs(s.Bundle)
	if err != nil {
		return err
	}
	if err := mountSocket(placeOf(s.ID, s.Bundle).socket(), rootfs); err != nil {
		return fmt.Errorf("mounting %s: %w", ask.Socket, err)
	}
	return nil
}

// mountSocket mounts a socket of the host below a root filesystem. What lies there may be
// made by anybody: no link in it is followed out of it.
func mountSocket(socket, rootfs string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, socket, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("the hook at the stage createRuntime has made no socket: %w", &os.PathError{Op: "open_tree", Path: socket, Err: err})
	}
	defer unix.Close(tree)
	// Its owner and mode are ours to choose.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return os.NewSyscallError("mount_setattr", err)
	}
	root, err := unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: rootfs, Err: err}
	}
	defer unix.Close(root)
	// Another container of this root filesystem may be removing the file.
	defer lockMountpoints(unix.LOCK_SH)()
	at, err := mountpoint(root)
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := unix.MoveMount(tree, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return os.NewSyscallError("move_mount", err)
	}
	return nil
}

// mountpointMode is that of a file which we make to mount on: by it we know our own.
const mountpointMode = 0

// mountpoint opens the file that is mounted on, or makes it.
func mountpoint(root int) (int, error) {
	dir := filepath.Dir(ask.Socket)
	parent, err := openInside(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkdirat(root, filepath.Base(dir), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return -1, readOnly(&os.PathError{Op: "mkdir", Path: dir, Err: err})
		}
		parent, err = openInside(root, dir, unix.O_PATH|unix.O_DIRECTORY)
	}
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	name := filepath.Base(ask.Socket)
	fd, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, mountpointMode)
	if err == nil {
		unix.Close(fd)
	} else if !errors.Is(err, unix.EEXIST) {
		return -1, readOnly(&os.PathError{Op: "create", Path: ask.Socket, Err: err})
	}
	fd, err = unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: ask.Socket, Err: err}
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if kind := st.Mode & unix.S_IFMT; err == nil && kind != unix.S_IFREG && kind != unix.S_IFSOCK {
		err = fmt.Errorf("the image of the container has something else at %s: remove it", ask.Socket)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// readOnly adds what can be done about a root filesystem that nothing can be made in.
func readOnly(err error) error {
	if errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%w: give the container a tmpfs at %s", err, filepath.Dir(ask.Socket))
	}
	return err
}

// lockMountpoints keeps those who mount and those who remove what was mounted on apart.
// Without the lock, as in a user namespace that may not read our directory, a container can
// lose its socket to the end of another of the same root filesystem.
func lockMountpoints(how int) (unlock func()) {
	fd, err := unix.Open(base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	for errors.Is(unix.Flock(fd, how), unix.EINTR) {
	}
	return func() { unix.Close(fd) }
}
