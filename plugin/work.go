package plugin

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// work is a directory for an image that is there for a while only, for us alone. It is
// locked as long as we live.
type work struct{ dir *os.File }

// workPrefix begins its name.
const workPrefix = "rethaw-"

// newWork makes one. It goes where TMPDIR says, else to /var/tmp: /tmp may be in memory. What
// the dead have left there is removed first: it may be the plain text of secrets.
func newWork(what string) (*work, error) {
	base := os.Getenv("TMPDIR")
	if base == "" {
		base = "/var/tmp"
	}
	sweepWork(base)
	path, err := os.MkdirTemp(base, workPrefix+what+"-*")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err == nil {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = dir.Chmod(0o700)
	}
	if err != nil {
		os.Remove(path)
		return nil, err
	}
	return &work{dir}, nil
}

// image is where the image goes.
func (w *work) image() string { return filepath.Join(w.dir.Name(), "image") }

// remove removes the directory with all that is in it.
func (w *work) remove(log *logrus.Entry) {
	if err := os.RemoveAll(w.dir.Name()); err != nil {
		log.WithError(err).Warnf("the temporary image %s remains", w.dir.Name())
	}
	w.dir.Close()
}

// sweepWork removes the directories of those who were killed: ours, and locked by nobody. Young
// ones are left alone, whose makers may be just about to lock them.
func sweepWork(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && (strings.HasPrefix(e.Name(), workPrefix+"export-") || strings.HasPrefix(e.Name(), workPrefix+"import-")) {
			sweepOne(filepath.Join(base, e.Name()))
		}
	}
}

func sweepOne(path string) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || int(st.Uid) != os.Geteuid() || st.Mode&0o777 != 0o700 ||
		time.Since(time.Unix(st.Ctim.Unix())) < time.Minute || unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	_ = os.RemoveAll(path)
}
