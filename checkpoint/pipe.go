package checkpoint

import (
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// pipeKind saves pipe(2): each description says which pipe it is of, and the
// first to be saved holds the data of all.
func pipeKind() fileKind {
	return fileKind{
		name:   "pipe",
		is:     func(f *openFile) bool { return f.isPipe() && strings.HasPrefix(f.link, "pipe:[") },
		refuse: refusePipe,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			rec := &specs.Pipe{}
			return rec, d.pipe(f, base, rec)
		},
		complete: func(d *dump, f *openFile) error { return d.refuseOtherEnd(f) },
	}
}

// isPipe tells pipes and FIFOs that can be read or written.
func (f *openFile) isPipe() bool {
	return f.stat.Mode&unix.S_IFMT == unix.S_IFIFO && f.info.Flags&unix.O_PATH == 0
}

// pipeEnds are the descriptions of one pipe.
type pipeEnds struct {
	all []*openFile
	// reads and writes tell whether any of them can.
	reads, writes bool
	// held is set when one of them has got the data.
	held bool
}

// ends finds the descriptions of the pipe or FIFO that f is of, among all that
// are known by now.
func (fs *files) ends(f *openFile) *pipeEnds {
	if fs.pipes == nil {
		fs.pipes = map[inodeKey]*pipeEnds{}
	}
	for ; fs.piped < len(fs.all); fs.piped++ {
		o := fs.all[fs.piped]
		if !o.isPipe() {
			continue
		}
		key := inodeKey{dev: o.stat.Dev, ino: o.stat.Ino}
		e := fs.pipes[key]
		if e == nil {
			e = &pipeEnds{}
			fs.pipes[key] = e
		}
		e.all = append(e.all, o)
		mode := o.info.Flags & unix.O_ACCMODE
		e.reads = e.reads || mode != unix.O_WRONLY
		e.writes = e.writes || mode != unix.O_RDONLY
	}
	return fs.pipes[inodeKey{dev: f.stat.Dev, ino: f.stat.Ino}]
}

// refusePipe refuses a pipe that leads out of the container. Where descriptors
// are in flight the other end may be one of them: it is looked for again when
// all have been found.
func refusePipe(d *dump, f *openFile) error {
	if d.files.inFlight() {
		return refuseNews(d, f)
	}
	if err := d.refuseOtherEnd(f); err != nil {
		return err
	}
	return refuseNews(d, f)
}

// inFlight tells whether a socket has descriptors in its queue.
func (fs *files) inFlight() bool {
	for ; fs.searched < len(fs.all); fs.searched++ {
		fs.flying = fs.flying || fs.all[fs.searched].info.ScmFDs > 0
	}
	return fs.flying
}

// refuseOtherEnd refuses a pipe one end of which nobody in the tree has and
// somebody else does.
func (d *dump) refuseOtherEnd(f *openFile) error {
	ends := d.files.ends(f)
	if ends.reads && ends.writes {
		return nil
	}
	open, err := otherEndOpen(ends)
	if err != nil || !open {
		return err
	}
	if d.out == nil && d.seenMeanwhile(f) {
		return nil
	}
	what := "read"
	if !ends.writes {
		what = "written"
	}
	return f.unsupported("is "+what+" by a process outside the container", "close it, or give it to the container as its stdin, stdout or stderr")
}

// otherEndOpen tells whether the end that none of the descriptions is of is open
// somewhere. The kernel tells by poll(2): readers see POLLHUP when the last
// writer has gone, writers POLLERR when the last reader has.
func otherEndOpen(ends *pipeEnds) (bool, error) {
	want := int16(unix.POLLHUP)
	if ends.writes {
		want = unix.POLLERR
	}
	for _, e := range ends.all {
		own, err := e.dup()
		if err != nil {
			return false, err
		}
		got, err := ready(own.Fd(), want)
		if err != nil {
			return false, err
		}
		if got&want != 0 {
			return false, nil
		}
	}
	if ends.writes || strings.HasPrefix(ends.all[0].link, "pipe:[") {
		return true, nil
	}
	return fifoWritten(ends.all[0])
}

// seenMeanwhile looks at all tasks once more, for the preflight: while they run,
// the other end may have moved to a task that was not there a moment ago.
func (d *dump) seenMeanwhile(f *openFile) bool {
	if now, err := d.look(f.proc, f.fd); err != nil || now.stat.Ino != f.stat.Ino || now.stat.Dev != f.stat.Dev {
		return true
	}
	if d.files.meanwhile == nil {
		d.files.meanwhile = d.pipesNow()
	}
	seen := d.files.meanwhile[inodeKey{dev: f.stat.Dev, ino: f.stat.Ino}]
	return seen != nil && seen.reads && seen.writes
}

// pipesNow finds which ends of which pipes the tasks have at this moment.
func (d *dump) pipesNow() map[inodeKey]*pipeEnds {
	now := files{}
	pids, err := d.target.listPids()
	if err != nil {
		return map[inodeKey]*pipeEnds{}
	}
	for _, pid := range pids {
		p := newProcess(pid)
		if p.read() != nil {
			continue
		}
		fds, err := procfs.ListFDs(p.at)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if f, err := d.look(p, fd); err == nil {
				now.all = append(now.all, f)
			}
		}
	}
	now.ends(&openFile{})
	if now.pipes == nil {
		return map[inodeKey]*pipeEnds{}
	}
	return now.pipes
}

// pipe fills in the record of one description.
func (d *dump) pipe(f *openFile, base specs.Description, rec *specs.Pipe) error {
	own, err := f.dup()
	if err != nil {
		return err
	}
	size, err := unix.FcntlInt(own.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return err
	}
	rec.Description, rec.Inode, rec.Size = base, f.stat.Ino, int32(size)
	rec.Mode, rec.UID, rec.GID = f.stat.Mode, f.stat.Uid, f.stat.Gid
	ends := d.files.ends(f)
	if ends.held {
		return nil
	}
	ends.held, rec.Holds = true, true
	from := &queued{int(own.Fd()), base.Flags&unix.O_ACCMODE != unix.O_WRONLY, size}
	q, err := from.read()
	if err != nil {
		return err
	}
	rec.Packets, rec.Streams = q.packets, q.streams
	if len(q.data) <= smallData {
		rec.Data = q.data
		return nil
	}
	rec.Length = uint64(len(q.data))
	rec.Pages, err = d.data.bytes(q.data, padded{from})
	return err
}

// smallData is how many bytes are put into a record itself.
const smallData = 64 << 10
