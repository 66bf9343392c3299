package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/tty"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// terminals are the pseudo-terminals of the fresh container.
type terminals struct {
	// masters and slaves are by number. A slave here is a helper of ours, for the
	// time of the restore; the console's is one too.
	masters, slaves map[int32]*os.File
	// hungUp are the descriptions of slaves that have hung up.
	hungUp map[specs.ID]*os.File
	// size is that of the fresh console before we touched it.
	size []byte
}

func (ts *terminals) close() {
	for _, f := range ts.slaves {
		f.Close()
	}
}

func terminalKind() fileKind {
	return fileKind{
		record: &specs.Terminal{},
		open: func(r *restorer, id specs.ID, rec specs.File) (*os.File, error) {
			return r.openTerminal(id, rec.(*specs.Terminal))
		},
		finish: func(r *restorer, _ specs.ID, rec specs.File, _ *os.File) error {
			return r.settle(rec.(*specs.Terminal))
		},
		// A session may have a controlling terminal that nobody has open.
		detached: func(specs.File) bool { return true },
	}
}

// makeTerminals makes all pairs, with their numbers, before anything else is
// opened: a file of devpts exists as long as its pair.
//
// Slaves that have hung up come first: their number may be another pair's by
// now.
func (r *restorer) makeTerminals() error {
	ts := &r.terminals
	ts.masters, ts.slaves, ts.hungUp = map[int32]*os.File{}, map[int32]*os.File{}, map[specs.ID]*os.File{}
	for _, step := range []func(specs.ID, *specs.Terminal) error{r.openGone, r.openMaster, r.openHungUp, r.openHelper} {
		for id, rec := range image.Each[*specs.Terminal](r.img) {
			if err := step(id, rec); err != nil {
				return &Error{"make terminal", describe(id, rec), err}
			}
		}
	}
	return nil
}

// openGone makes a slave whose pair is gone: of a pair for a moment.
func (r *restorer) openGone(id specs.ID, rec *specs.Terminal) error {
	if !rec.Gone {
		return nil
	}
	master, err := numbered(rec.Index, false)
	if err != nil {
		return err
	}
	defer master.Close()
	return r.openToHangUp(id, rec, master)
}

// openToHangUp opens a slave by its present name; it hangs up with its master, or
// when told.
func (r *restorer) openToHangUp(id specs.ID, rec *specs.Terminal, master *os.File) error {
	n, err := tty.Number(master)
	if err != nil {
		return err
	}
	if err := tty.SetLocked(master, false); err != nil {
		return err
	}
	fd, err := unix.Open(slavePath(int32(n)), int(rec.Flags)&^creation|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), rec.Path)
	r.terminals.hungUp[id] = f
	return setBase(f, &rec.Description, false)
}

func slavePath(n int32) string { return fmt.Sprintf("/dev/pts/%d", n) }

// openMaster makes a pair. Its description of the master is the only one that
// there is.
func (r *restorer) openMaster(_ specs.ID, rec *specs.Terminal) error {
	if !rec.Master {
		return nil
	}
	if r.terminals.masters[rec.Index] != nil {
		return fmt.Errorf("terminal %d has two masters", rec.Index)
	}
	master, err := numbered(rec.Index, true)
	if err != nil {
		return err
	}
	r.terminals.masters[rec.Index] = master
	if err := setBase(master, &rec.Description, false); err != nil {
		return err
	}
	return tty.SetLocked(master, false)
}

// numbered makes a pair with a number: the kernel gives the lowest free one.
// Without exact any number will do if that one is taken.
func numbered(want int32, exact bool) (*os.File, error) {
	var lower []*os.File
	defer func() {
		for _, f := range lower {
			f.Close()
		}
	}()
	for {
		fd, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open /dev/pts/ptmx: %w", err)
		}
		f := os.NewFile(uintptr(fd), "/dev/pts/ptmx")
		n, err := tty.Number(f)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		switch {
		case int32(n) == want || int32(n) > want && !exact:
			return f, nil
		case int32(n) > want:
			return nil, errors.Join(fmt.Errorf("%w: terminal %d is in use in the fresh container", ErrUnfit, want), f.Close())
		}
		lower = append(lower, f)
	}
}

// openHungUp makes slaves that have hung up while their pair lives on: before
// its other slaves are opened.
func (r *restorer) openHungUp(id specs.ID, rec *specs.Terminal) error {
	master := r.terminals.masters[rec.Index]
	if !rec.HungUp || rec.Gone {
		return nil
	}
	if master == nil {
		return r.openGone(id, &specs.Terminal{Description: rec.Description, Index: rec.Index, Path: rec.Path, Gone: true})
	}
	if err := r.openToHangUp(id, rec, master); err != nil {
		return err
	}
	return tty.HangUp(r.terminals.hungUp[id])
}

// openHelper opens a slave of each pair whose slave was open at some time: the
// pair is set up through it, and when it is closed after the restore a pair
// whose slave nobody has is as it was.
func (r *restorer) openHelper(_ specs.ID, rec *specs.Terminal) error {
	if rec.Pair == nil || !rec.Pair.Opened {
		return nil
	}
	if rec.Console {
		return r.findConsole(rec)
	}
	master := r.terminals.masters[rec.Index]
	if master == nil {
		return fmt.Errorf("terminal %d has no master", rec.Index)
	}
	slave, err := tty.Peer(master)
	r.terminals.slaves[rec.Index] = slave
	return err
}

// findConsole opens the fresh container's console.
func (r *restorer) findConsole(rec *specs.Terminal) error {
	for _, f := range r.files.stdio {
		if f == nil {
			continue
		}
		dev, err := tty.Device(f)
		if err != nil || unix.Major(dev) != tty.SlaveMajor {
			continue
		}
		if n := int32(unix.Minor(dev)); n != rec.Index {
			return fmt.Errorf("%w: the fresh container's console is /dev/pts/%d, it was %d", ErrUnfit, n, rec.Index)
		}
		fd, err := unix.Open(slavePath(rec.Index), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		r.terminals.slaves[rec.Index] = os.NewFile(uintptr(fd), "console")
		r.terminals.size, err = tty.Size(f)
		return err
	}
	return fmt.Errorf("%w: the container had a terminal and the fresh one has none; set process.terminal in config.json", ErrUnfit)
}

// openTerminal gives the description of an end. That of /dev/tty is made later,
// by a task whose controlling terminal it is.
func (r *restorer) openTerminal(id specs.ID, rec *specs.Terminal) (*os.File, error) {
	switch {
	case rec.HungUp:
		return r.terminals.hungUp[id], nil
	case rec.Current:
		return nil, nil
	case rec.Master:
		return r.terminals.masters[rec.Index], nil
	case len(r.files.holders[id]) == 0 && rec.Pair != nil:
		return nil, nil // it only controls a session
	}
	if master := r.terminals.masters[rec.Index]; master != nil && rec.Flags&(largeFile|unix.O_PATH) == 0 {
		return openPeer(master, &rec.Description)
	}
	return r.openPath(rec.Path, &rec.Description, 0, false, ofType(unix.S_IFCHR, "terminal"))
}

// openPeer opens a slave as openpty(3) has done it, which the flags show.
func openPeer(master *os.File, base *specs.Description) (*os.File, error) {
	f, err := tty.OpenPeer(master, int(base.Flags)&^creation)
	if err != nil {
		return nil, err
	}
	if err := setBase(f, base, false); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
