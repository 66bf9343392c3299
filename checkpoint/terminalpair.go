package checkpoint

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/tty"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// savePair writes the state of a pair into the record of one of its ends. A
// terminal that is open nowhere and only controls tasks gets a record of its own.
func (d *dump) savePair(p *pty) error {
	end := p.master
	if end == nil && len(p.slaves) > 0 {
		end = p.slaves[0]
	}
	if end == nil {
		r := &specs.Terminal{Index: p.index, Console: p.console, Path: fmt.Sprintf("/dev/pts/%d", p.index)}
		r.Flags = unix.O_RDWR
		p.record = d.newID()
		// Nobody has it open: it is asked through its file.
		f, err := d.openConsole(p.index)
		if err != nil {
			return err
		}
		defer f.Close()
		if r.Pair, err = d.pairState(p, f); err != nil {
			return err
		}
		return d.out.Put(p.record, r)
	}
	own, err := end.file()
	if err != nil {
		return err
	}
	r, ok := end.record.(*specs.Terminal)
	if !ok {
		return fmt.Errorf("%s was saved as %T", end.name(), end.record)
	}
	p.record = end.id
	r.Pair, err = d.pairState(p, own)
	if err != nil && p.master != nil {
		return p.master.unsupportedPair(err)
	}
	return err
}

// unsupportedPair names what cannot be saved of a pair and what to do.
func (f *openFile) unsupportedPair(err error) error {
	for _, known := range []struct {
		err    error
		remedy string
	}{
		{tty.ErrStopped, "have it go on (Ctrl-Q) before the checkpoint"},
		{tty.ErrFull, "have the program read its input before the checkpoint"},
		{tty.ErrEcho, "have its output go on before the checkpoint"},
		{tty.ErrTelling, "have the program read its master before the checkpoint"},
	} {
		if errors.Is(err, known.err) {
			return f.unsupported(err.Error(), known.remedy)
		}
	}
	return err
}

// openConsole opens a slave without becoming its session.
func (d *dump) openConsole(index int32) (*os.File, error) {
	fd, err := d.inRoot(fmt.Sprintf("dev/pts/%d", index), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, unix.RESOLVE_NO_MAGICLINKS)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "console"), nil
}

// pairState asks for what both ends share, through either. What was typed at the
// console and not read yet is not taken: it belongs to the terminal outside.
func (d *dump) pairState(p *pty, f *os.File) (*specs.TerminalPair, error) {
	s := &specs.TerminalPair{}
	settings, err := tty.Get(f)
	if err != nil {
		return nil, err
	}
	s.Termios, s.Fixed, s.Size = settings.Termios, settings.Fixed, settings.Size
	if err := d.pairFile(p, s); err != nil {
		return nil, err
	}
	if p.master == nil {
		s.Opened = true
		s.Exclusive, err = tty.Exclusive(f)
		return s, err
	}
	if s.Locked, err = tty.Locked(f); err != nil {
		return nil, err
	}
	if s.Packet, err = tty.Packet(f); err != nil {
		return nil, err
	}
	if s.Opened, err = tty.Opened(f); err != nil {
		return nil, err
	}
	s.Opened = s.Opened || len(p.slaves)+len(p.controls) > 0
	q, err := d.queues(f, s.Opened)
	if err != nil {
		return nil, err
	}
	s.Lines, s.Rest, s.Output, s.Typed = q.Lines, q.Rest, q.Output, q.Typed
	s.Next, s.Stopped, s.Suspended = q.Next, q.Stopped, q.Suspended
	if !s.Opened {
		// It cannot be put back without opening the slave, which would show.
		if !q.Empty() {
			err = p.master.unsupported("was written to before its other end was ever opened", "open it first")
		}
		return s, err
	}
	return s, d.slaveState(p, f, s)
}

// queues looks at what waits in a pair; where the kernel's memory cannot be read
// it is taken and put back. A slave that was never opened cannot be looked at
// then, but what was typed into it has left its echo.
func (d *dump) queues(master *os.File, opened bool) (tty.Queues, error) {
	k, err := d.kernelMemory()
	var q tty.Queues
	if err == nil {
		q, err = tty.Peek(k, master)
	}
	switch {
	case err == nil, errors.Is(err, tty.ErrTelling), errors.Is(err, tty.ErrEcho):
		return q, err
	case opened:
		d.log.WithError(err).Debug("what waits in terminals is taken and put back")
		return tty.Take(master)
	}
	n, err := tty.Waits(master)
	return tty.Queues{Output: make([]byte, n)}, err
}

// slaveState asks for what only the slave knows.
func (d *dump) slaveState(p *pty, master *os.File, s *specs.TerminalPair) error {
	f, err := tty.Peer(master)
	if err != nil {
		return err
	}
	defer f.Close()
	s.Exclusive, err = tty.Exclusive(f)
	return err
}

// pairFile reads mode and owner of the slave's file.
func (d *dump) pairFile(p *pty, s *specs.TerminalPair) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(d.root.Fd()), fmt.Sprintf("dev/pts/%d", p.index), &stat, 0); err != nil {
		return err
	}
	s.Mode, s.UID, s.GID = stat.Mode&0o7777, stat.Uid, stat.Gid
	return nil
}
