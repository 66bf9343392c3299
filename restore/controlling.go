package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/tty"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// A controlling terminal (tty(4)) is the kernel's link between a session and a
// terminal. The leader acquires it, and each task has it from its parent at the
// fork or has given it up. So a leader gets it when it starts the session and
// before its children are forked, and those who have none give it up when all
// are there.

// controls gives the device of the terminal that controls a task in the image,
// 0 for none.
func (r *restorer) controls(t *task) (uint64, *specs.Terminal, error) {
	if t.rec.TTY == 0 {
		return 0, nil, nil
	}
	rec, err := get[*specs.Terminal](r, t.rec.TTY)
	if err != nil {
		return 0, nil, err
	}
	return unix.Mkdev(tty.SlaveMajor, uint32(rec.Index)), rec, nil
}

// acquire gives the leader of a session its controlling terminal.
func (r *restorer) acquire(t *task) error {
	if t.ghost || t.rec.SID != t.rec.PID {
		return nil
	}
	want, rec, err := r.controls(t)
	if err != nil {
		return err
	}
	stat, err := procfs.ReadStat(t.pid)
	if err != nil {
		return err
	}
	if uint64(stat.TTYNr) == want {
		return nil
	}
	if stat.TTYNr != 0 {
		if err := r.giveUp(t); err != nil {
			return err
		}
	}
	if want == 0 {
		return nil
	}
	err = r.onTerminal(t, rec.Index, func(fd uint64) error {
		_, err := r.call(t, unix.SYS_IOCTL, fd, unix.TIOCSCTTY, 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("acquire controlling terminal %d: %w", rec.Index, err)
	}
	return nil
}

// onTerminal calls f with a descriptor for the slave in a task.
func (r *restorer) onTerminal(t *task, index int32, f func(fd uint64) error) error {
	slave := r.terminals.slaves[index]
	if slave == nil {
		return fmt.Errorf("terminal %d was not made: %w", index, unix.ENODEV)
	}
	numbers, err := r.send(t, []*os.File{slave})
	if err != nil {
		return err
	}
	fd := uint64(numbers[0])
	err = f(fd)
	_, cerr := r.call(t, unix.SYS_CLOSE, fd)
	return errors.Join(err, cerr)
}

// openCurrent opens /dev/tty in a task and returns the number of the
// descriptor.
func (r *restorer) openCurrent(t *task, path string, flags uint64) (uint64, error) {
	data, at := t.arena.Data()
	if len(path) >= unix.PathMax {
		return 0, unix.ENAMETOOLONG
	}
	copy(data, path+"\x00")
	const atCWD = ^uint64(99) // AT_FDCWD
	fd, err := r.call(t, unix.SYS_OPENAT, atCWD, at, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", path, err)
	}
	return uint64(fd), nil
}

// giveUp has a task give up its controlling terminal; if it leads the session all
// its members do.
func (r *restorer) giveUp(t *task) error {
	fd, err := r.openCurrent(t, "/dev/tty", unix.O_RDWR|unix.O_NONBLOCK)
	if err != nil {
		return err
	}
	_, err = r.call(t, unix.SYS_IOCTL, fd, unix.TIOCNOTTY, 0)
	_, cerr := r.call(t, unix.SYS_CLOSE, fd)
	if err != nil {
		return fmt.Errorf("give up controlling terminal: %w", err)
	}
	return cerr
}

// joinTerminals completes sessions when all tasks are in their groups.
func (r *restorer) joinTerminals() error {
	for _, t := range r.living() {
		if err := r.joinTerminal(t); err != nil {
			return taskError("join terminal", t, err)
		}
	}
	for id, rec := range image.Each[*specs.Terminal](r.img) {
		if rec.Current && !rec.HungUp {
			if err := r.openCurrentFile(id, rec); err != nil {
				return &Error{"open file", describe(id, rec), err}
			}
		}
	}
	for id, rec := range image.Each[*specs.Terminal](r.img) {
		if rec.Pair != nil && rec.Pair.Exclusive {
			if err := tty.SetExclusive(r.terminals.slaves[rec.Index]); err != nil {
				return &Error{"make exclusive", describe(id, rec), err}
			}
		}
	}
	return nil
}

// joinTerminal has one task keep or give up the terminal that it has from its
// parent; the leader of a session chooses the foreground group.
func (r *restorer) joinTerminal(t *task) error {
	want, rec, err := r.controls(t)
	if err != nil {
		return err
	}
	stat, err := procfs.ReadStat(t.pid)
	if err != nil {
		return err
	}
	switch leader := t.rec.SID == t.rec.PID; {
	case r.img.Header().Host && want == 0:
		return nil // in a session of the host's
	case want == 0 && stat.TTYNr != 0:
		return r.giveUp(t)
	case uint64(stat.TTYNr) != want:
		return fmt.Errorf("%w: the task has not the controlling terminal of its session", ErrUnfit)
	case want == 0 || !leader || t.rec.Foreground == 0:
		return nil
	}
	return r.onTerminal(t, rec.Index, func(fd uint64) error {
		// All signals are blocked: it may be done from the background.
		data, at := t.arena.Data()
		binary.NativeEndian.PutUint32(data, uint32(t.rec.Foreground))
		if _, err := r.call(t, unix.SYS_IOCTL, fd, unix.TIOCSPGRP, at); err != nil {
			return fmt.Errorf("make group %d the foreground: %w", t.rec.Foreground, err)
		}
		return nil
	})
}

// openCurrentFile makes a description of /dev/tty: in any task that has the
// terminal.
func (r *restorer) openCurrentFile(id specs.ID, rec *specs.Terminal) error {
	if len(r.files.holders[id]) == 0 {
		return nil
	}
	var opener *task
	for _, t := range r.living() {
		if _, its, err := r.controls(t); err == nil && its != nil && its.Index == rec.Index {
			opener = t
			break
		}
	}
	if opener == nil && r.img.Header().Host {
		opener = r.root
	}
	if opener == nil {
		var err error
		if opener, err = r.ghostSession(rec.Index); err != nil {
			return err
		}
	}
	fd, err := r.openCurrent(opener, rec.Path, uint64(int(rec.Flags)&^creation))
	if err != nil {
		return err
	}
	pidfd, err := opener.pidfd()
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	ours, err := unix.PidfdGetfd(pidfd, int(fd), 0)
	if err != nil {
		return err
	}
	r.files.open[id] = os.NewFile(uintptr(ours), rec.Path)
	if opener.ghost {
		if err := r.giveUp(opener); err != nil {
			return err
		}
	}
	if _, err := r.call(opener, unix.SYS_CLOSE, fd); err != nil {
		return err
	}
	return setBase(r.files.open[id], &rec.Description, false)
}

// ghostSession makes a helper whose controlling terminal is one that controls
// nobody any more: the session in which /dev/tty was opened has ended.
func (r *restorer) ghostSession(index int32) (*task, error) {
	pid := r.freePID()
	g := r.newGhost(pid, pid)
	if err := r.fork(r.root, g); err != nil {
		return nil, err
	}
	err := r.onTerminal(g, index, func(fd uint64) error {
		_, err := r.call(g, unix.SYS_IOCTL, fd, unix.TIOCSCTTY, 0)
		return err
	})
	return g, err
}

// resized tells the foreground group of a console that its size is not what it
// was.
func (r *restorer) resized() error {
	for _, t := range r.living() {
		_, rec, err := r.controls(t)
		if err != nil || rec == nil || !rec.Console || t.rec.SID != t.rec.PID {
			continue
		}
		was, err := get[*specs.Terminal](r, t.rec.TTY)
		if err != nil || was.Pair == nil {
			return err
		}
		size, err := tty.Size(r.terminals.slaves[rec.Index])
		if err != nil || bytes.Equal(size, was.Pair.Size) {
			return err
		}
		for _, member := range r.living() {
			if member.rec.PGID == t.rec.Foreground {
				if err := unix.Kill(member.pid, unix.SIGWINCH); err != nil {
					return taskError("tell the size of its terminal to", member, err)
				}
			}
		}
	}
	return nil
}
