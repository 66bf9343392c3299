package restore

import (
	"bytes"
	"fmt"

	"github.com/rethaw/rethaw/internal/tty"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// settle gives a pair its state. No session has it yet, so nobody is sent SIGWINCH;
// what the console's does is taken off with all that was queued meanwhile.
func (r *restorer) settle(rec *specs.Terminal) error {
	s := rec.Pair
	if s == nil {
		return nil
	}
	settings := tty.Settings{Termios: s.Termios, Fixed: s.Fixed, Size: s.Size}
	master, slave := r.terminals.masters[rec.Index], r.terminals.slaves[rec.Index]
	if slave == nil {
		if err := tty.Set(master, settings); err != nil {
			return err
		}
	} else if err := tty.Fill(master, slave, settings, queues(s)); err != nil {
		return err
	}
	// Who has the console now may have given it a size: then that counts.
	if end := slave; rec.Console {
		if unsized(r.terminals.size) {
			if err := tty.SetSize(end, s.Size); err != nil {
				return err
			}
		}
	} else if err := tty.SetSize(master, s.Size); err != nil {
		return err
	}
	if err := ownSlave(rec.Index, s); err != nil {
		return err
	}
	if master == nil {
		return nil
	}
	if s.Packet {
		if err := tty.SetPacket(master, true); err != nil {
			return fmt.Errorf("set packet mode: %w", err)
		}
	}
	if s.Locked {
		return tty.SetLocked(master, true)
	}
	return nil
}

func queues(s *specs.TerminalPair) tty.Queues {
	return tty.Queues{
		Lines: s.Lines, Rest: s.Rest, Output: s.Output, Typed: s.Typed,
		Next: s.Next, Stopped: s.Stopped, Suspended: s.Suspended,
	}
}

// unsized tells whether struct winsize is all zeros, as when nobody has set it.
func unsized(size []byte) bool { return bytes.Equal(size, make([]byte, len(size))) }

// ownSlave gives the slave's file its mode and owner.
func ownSlave(n int32, s *specs.TerminalPair) error {
	path := slavePath(n)
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return err
	}
	if stat.Uid != s.UID || stat.Gid != s.GID {
		if err := unix.Chown(path, int(s.UID), int(s.GID)); err != nil {
			return fmt.Errorf("give %s to %d:%d: %w", path, s.UID, s.GID, err)
		}
	}
	if stat.Mode&0o7777 != s.Mode {
		return unix.Chmod(path, s.Mode)
	}
	return nil
}
