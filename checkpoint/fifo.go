package checkpoint

import (
	"errors"
	"strings"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// fifoKind saves named pipes: the file system keeps the name, what is in them
// lives in memory only.
func fifoKind() fileKind {
	return fileKind{
		name:   "FIFO",
		is:     func(f *openFile) bool { return f.isPipe() && strings.HasPrefix(f.link, "/") },
		refuse: refuseFIFO,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			rec := &specs.FIFO{Path: strings.TrimSuffix(f.link, deletedSuffix), Device: f.stat.Dev, Deleted: f.stat.Nlink == 0}
			if err := d.pipe(f, base, &rec.Pipe); err != nil {
				return nil, err
			}
			var err error
			rec.Unwritten, err = d.unwritten(f)
			return rec, err
		},
		complete: func(d *dump, f *openFile) error { return d.refuseOtherEnd(f) },
	}
}

func refuseFIFO(d *dump, f *openFile) error {
	if f.stat.Nlink > 0 || !strings.HasSuffix(f.link, deletedSuffix) {
		if err := refuseNamed(d, f); err != nil {
			return err
		}
	} else if !d.mounts.inside(f.info.MntID) {
		return f.unsupported("leads out of the container", "close it before the checkpoint")
	}
	return refusePipe(d, f)
}

// unwritten tells whether a reader has seen no writer: there is none now, and
// poll(2) does not say that one has left.
func (d *dump) unwritten(f *openFile) (bool, error) {
	if d.files.ends(f).writes || f.info.Flags&unix.O_ACCMODE != unix.O_RDONLY {
		return false, nil
	}
	own, err := f.dup()
	if err != nil {
		return false, err
	}
	got, err := ready(own.Fd(), unix.POLLHUP)
	return got&unix.POLLHUP == 0, err
}

// fifoWritten tells whether a FIFO of which the tree has readers only, none of
// which sees POLLHUP, has a writer. Readers that came when there was no writer
// do not see POLLHUP before one has come and gone: what tells is that an empty
// FIFO gives the end of file instead of EAGAIN, to tee(2) as well, which would not
// take anything out.
func fifoWritten(f *openFile) (bool, error) {
	own, err := f.dup()
	if err != nil {
		return false, err
	}
	s, err := newSpare(pageSize)
	if err != nil {
		return false, err
	}
	defer s.close()
	n, err := unix.Tee(int(own.Fd()), s.w, 1, unix.SPLICE_F_NONBLOCK)
	if errors.Is(err, unix.EAGAIN) {
		return true, nil
	}
	return n > 0, err
}
