package watchdog

import (
	"errors"
	"os"
	"time"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// Undo is one thing to be undone; exactly one of its fields is set.
type Undo struct {
	// Write writes into a file of the kernel's.
	Write *Write `json:"write,omitempty"`
	// Options set options of the socket that came along, in order.
	Options []Option `json:"options,omitempty"`
	// Mend thaws a cgroup, and has nothing show of that it was frozen.
	Mend *Mend `json:"mend,omitempty"`
	// Remove removes a container that a runtime may be making.
	Remove *Remove `json:"remove,omitempty"`
	// While, if it is set, is a process that must live for it to be done.
	While *Process `json:"while,omitempty"`
}

// Process is a process by its pid and its start time in clock ticks after boot.
type Process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// pause is between two looks.
const pause = 20 * time.Millisecond

// dying is how long a process that was killed may take to be seen dead.
const dying = 300 * time.Millisecond

// lives tells whether the process lives on; one that is being killed does not.
func (p *Process) lives() bool {
	for begin := time.Now(); time.Since(begin) < dying; time.Sleep(pause) {
		stat, err := procfs.ReadStat(p.Pid)
		if err != nil || stat.StartTime != p.Start || stat.State == 'Z' || stat.State == 'X' {
			return false
		}
	}
	return true
}

// Write is a file and what is written into it.
type Write struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Option is an option of a socket, an int.
type Option struct {
	Level int `json:"level"`
	Name  int `json:"name"`
	Value int `json:"value"`
}

// do undoes it; fd came along, or is -1.
func (u *Undo) do(fd int) error {
	if u.While != nil && !u.While.lives() {
		return nil
	}
	switch {
	case u.Write != nil:
		return os.WriteFile(u.Write.Path, []byte(u.Write.Text), 0)
	case u.Options != nil:
		var errs []error
		for _, o := range u.Options {
			errs = append(errs, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, o.Level, o.Name, o.Value)))
		}
		return errors.Join(errs...)
	case u.Mend != nil:
		return u.Mend.Do()
	case u.Remove != nil:
		return u.Remove.do()
	}
	return errors.New("an order without a meaning")
}
