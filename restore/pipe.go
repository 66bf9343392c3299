package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// A pipe is made with all its descriptions when the first of them is asked for:
// while one of ours has it for reading and writing nothing blocks, nothing that
// is in it is lost, and no end seems closed.

func pipeKind() fileKind {
	return fileKind{
		record: &specs.Pipe{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			return r.pipeEnd(id, pipeKey{rec.(*specs.Pipe).Inode, pipefs}, r.makePipe)
		},
	}
}

// pipefs stands for the device of pipes without a name.
const pipefs = ^uint64(0)

// pipeKey tells pipes and FIFOs apart.
type pipeKey struct{ inode, device uint64 }

// pipeEnd is one description of a pipe; fifo is nil for one without a name.
type pipeEnd struct {
	id   specs.ID
	pipe *specs.Pipe
	fifo *specs.FIFO
}

func (e *pipeEnd) mode() int { return int(e.pipe.Flags & unix.O_ACCMODE) }

// pipes are the ends of each pipe of the image, and descriptions that were made
// and not yet asked for.
type pipes struct {
	ends map[pipeKey][]pipeEnd
	made map[specs.ID]*os.File
}

func (p *pipes) close() {
	for _, f := range p.made {
		f.Close()
	}
}

// pipeEnd gives one description; make makes all of the pipe.
func (r *restorer) pipeEnd(id specs.ID, key pipeKey, make func([]pipeEnd) error) (*os.File, error) {
	p := &r.files.pipes
	if p.ends == nil {
		r.findPipes()
	}
	if p.made[id] == nil {
		if err := make(p.ends[key]); err != nil {
			return nil, err
		}
	}
	f := p.made[id]
	delete(p.made, id)
	return f, nil
}

// findPipes sorts the ends of all pipes.
func (r *restorer) findPipes() {
	p := &r.files.pipes
	p.ends, p.made = map[pipeKey][]pipeEnd{}, map[specs.ID]*os.File{}
	for id, rec := range image.Each[*specs.Pipe](r.img) {
		key := pipeKey{rec.Inode, pipefs}
		p.ends[key] = append(p.ends[key], pipeEnd{id, rec, nil})
	}
	for id, rec := range image.Each[*specs.FIFO](r.img) {
		key := pipeKey{rec.Inode, rec.Device}
		p.ends[key] = append(p.ends[key], pipeEnd{id, &rec.Pipe, rec})
	}
}

// makePipe makes a pipe with what is in it. The two descriptions of pipe(2)
// become those that were so; all others are opened through the links in /proc,
// as they were.
func (r *restorer) makePipe(ends []pipeEnd) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	own := [2]*os.File{os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe")}
	taken := [2]bool{}
	err := r.fillPipe(own[1], ends)
	for i := 0; err == nil && i < len(ends); i++ {
		e := &ends[i]
		var f *os.File
		if mode := e.mode(); mode < 2 && !taken[mode] && e.pipe.Flags&largeFile == 0 {
			f, taken[mode] = own[mode], true
		} else if f, err = reopen(own[0], mode); err != nil {
			break
		}
		f, err = based(f, &e.pipe.Description)
		if err == nil {
			r.files.pipes.made[e.id] = f
		}
	}
	if err == nil {
		err = ownPipe(own[0], ends[0].pipe)
	}
	for i, f := range own {
		if !taken[i] {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// reopen makes another description of a file of ours.
func reopen(f *os.File, mode int) (*os.File, error) {
	var again *os.File
	// Our own descriptor is seen through our own /proc only.
	err := outside(func() error {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			again = os.NewFile(uintptr(fd), f.Name())
		}
		return err
	})
	return again, err
}

// ownPipe gives the inode of a pipe its owner: it decides who may open the pipe
// through /proc (/dev/stdout).
func ownPipe(f *os.File, rec *specs.Pipe) error {
	if rec.UID != 0 || rec.GID != 0 {
		if err := unix.Fchown(int(f.Fd()), int(rec.UID), int(rec.GID)); err != nil {
			return fmt.Errorf("set owner %d:%d: %w", rec.UID, rec.GID, err)
		}
	}
	if mode := rec.Mode & 0o7777; rec.Mode != 0 && mode != 0o600 {
		if err := unix.Fchmod(int(f.Fd()), mode); err != nil {
			return fmt.Errorf("set mode %#o: %w", mode, err)
		}
	}
	return nil
}
