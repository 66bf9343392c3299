package hook

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// waitFile waits until the program has made the file, or has made it anew.
func waitFile(ctx context.Context, a *agent) error {
	begin := time.Now()
	for {
		look := time.Now()
		made, err := madeSince(a.plan.Init, a.plan.Wishes.File, a.plan.Armed)
		if err != nil {
			return err
		}
		if made {
			return nil
		}
		pause := max(patience(time.Since(begin)), 20*time.Since(look))
		if err := a.init.pause(ctx, pause); err != nil {
			return err
		}
	}
}

// madeSince tells whether a path of the container leads to something that came there
// or changed after a moment. The change time counts, which programs cannot choose.
func madeSince(init int, path string, since time.Time) (bool, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", init), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if gone(err) || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the container's root: %w", err)
	}
	defer unix.Close(root)
	fd, err := openInside(root, path, unix.O_PATH)
	if err != nil {
		// Whatever it is that keeps us from the file, it may be over the next
		// time: the directory is not there yet, the links lead in a circle...
		return false, nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, err
	}
	return time.Unix(st.Ctim.Unix()).After(since), nil
}

// openInside opens a path as somebody would to whom the directory root is the root:
// links in it lead nowhere else. Magic links of /proc are not followed at all.
func openInside(root int, path string, flags int) (int, error) {
	for n := 0; ; n++ {
		fd, err := unix.Openat2(root, strings.TrimPrefix(path, "/"), &unix.OpenHow{
			Flags:   uint64(flags | unix.O_CLOEXEC),
			Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		// The kernel gives up when something is renamed meanwhile; somebody who
		// renames for ever does not keep us.
		if n < 100 && (errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR)) {
			continue
		}
		if err != nil {
			return -1, &os.PathError{Op: "openat2", Path: path, Err: err}
		}
		return fd, nil
	}
}

// gone tells of errors of what has ended meanwhile.
func gone(err error) bool { return errors.Is(err, unix.ESRCH) }
