package procfs

import "bytes"

// FDInfo is /proc/PID/fdinfo/FD (proc_pid_fdinfo(5), fs/proc/fd.c and show_fdinfo
// of each kind of file). What belongs to one kind is zero for the others.
type FDInfo struct {
	// Pos is the file offset in bytes.
	Pos int64
	// Flags are those of open(2): access mode, status flags, and O_CLOEXEC of
	// this descriptor.
	Flags uint32
	// MntID is the mount's number in mountinfo.
	MntID int
	// Ino is the inode number (since Linux 5.14); HasIno tells if it is there.
	Ino    uint64
	HasIno bool

	// HasEventfd is true for an eventfd(2). Kernels before 6.5 do not tell
	// EventfdSemaphore; HasEventfdSemaphore is false then.
	HasEventfd          bool
	EventfdCount        uint64
	EventfdID           int
	HasEventfdSemaphore bool
	EventfdSemaphore    bool

	// Epoll are the watches of an epoll(7), in the kernel's order.
	Epoll []EpollWatch

	// SigMask are the signals of a signalfd(2), bit 0 is signal 1; HasSigMask
	// is true for a signalfd.
	HasSigMask bool
	SigMask    uint64

	// Timerfd is nil unless the file is a timerfd.
	Timerfd *Timerfd

	// Inotify and Fanotify are the lines of inotify(7) and fanotify(7) as they
	// stand, one per watch or mark (and one for the group of fanotify);
	// ParseInotify reads the former.
	Inotify  []string
	Fanotify []string

	// Locks are held on the file by this description's owner.
	Locks []Lock

	// HasPid is true for a pidfd. Pid is the process in the namespace of /proc:
	// -1 if it is gone, 0 if it has no pid there. NSpid are its pids from that
	// namespace inwards.
	HasPid bool
	Pid    int
	NSpid  []int

	// ScmFDs is how many descriptors wait in the queue of a unix(7) socket
	// (since Linux 5.15).
	ScmFDs uint64

	// TTYIndex is N of /dev/pts/N that a pty(7) master belongs to, HasTTYIndex
	// tells that it is one.
	HasTTYIndex bool
	TTYIndex    int

	// Userfaultfd is nil unless the file is a userfaultfd(2).
	Userfaultfd *Userfaultfd

	// Other are all lines that are not known here, in their order, so that a
	// saver can refuse a file that has state it does not know by that name.
	Other []Line
}

// Line is a line "Key: Value", both without blanks around them. A line without a
// colon is all Key.
type Line struct {
	Key, Value string
}

// fdLine stores the value of one line of fdinfo; false tells that it is not of
// the expected form.
type fdLine func(info *FDInfo, value []byte) bool

// fdLines maps the text before the first colon to who understands the rest. It is
// read only.
var fdLines = map[string]fdLine{
	"pos": func(i *FDInfo, v []byte) (ok bool) { i.Pos, ok = parseInt(v); return },
	"flags": func(i *FDInfo, v []byte) bool {
		flags, ok := parseUint(v, 8)
		i.Flags = uint32(flags)
		return ok && flags <= 1<<32-1
	},
	"mnt_id": func(i *FDInfo, v []byte) (ok bool) { i.MntID, ok = parsePID(v); return },
	"ino": func(i *FDInfo, v []byte) (ok bool) {
		i.HasIno = true
		i.Ino, ok = parseUint(v, 10)
		return
	},
	"lock": (*FDInfo).parseLock,

	"eventfd-count": func(i *FDInfo, v []byte) (ok bool) {
		i.HasEventfd = true
		i.EventfdCount, ok = parseUint(v, 16)
		return
	},
	"eventfd-id": func(i *FDInfo, v []byte) (ok bool) { i.EventfdID, ok = parsePID(v); return },
	"eventfd-semaphore": func(i *FDInfo, v []byte) bool {
		i.HasEventfdSemaphore = true
		return parseBool(v, &i.EventfdSemaphore)
	},

	"tfd": (*FDInfo).parseWatch,

	"sigmask": func(i *FDInfo, v []byte) (ok bool) {
		i.HasSigMask = true
		i.SigMask, ok = parseUint(v, 16)
		return
	},

	"clockid":       timerfdLine((*Timerfd).parseClock),
	"ticks":         timerfdLine((*Timerfd).parseTicks),
	"settime flags": timerfdLine((*Timerfd).parseFlags),
	"it_value":      timerfdLine((*Timerfd).parseValue),
	"it_interval":   timerfdLine((*Timerfd).parseInterval),

	"Pid": func(i *FDInfo, v []byte) (ok bool) {
		i.HasPid = true
		i.Pid, ok = parsePID(v)
		return
	},
	"NSpid": func(i *FDInfo, v []byte) (ok bool) { i.NSpid, ok = parsePIDs(v); return },

	"scm_fds": func(i *FDInfo, v []byte) (ok bool) { i.ScmFDs, ok = parseUint(v, 10); return },
	"tty-index": func(i *FDInfo, v []byte) (ok bool) {
		i.HasTTYIndex = true
		i.TTYIndex, ok = parsePID(v)
		return
	},

	"pending": userfaultfdLine((*Userfaultfd).parsePending),
	"total":   userfaultfdLine((*Userfaultfd).parseTotal),
	"API":     userfaultfdLine((*Userfaultfd).parseAPI),
}

// ParseFDInfo reads /proc/PID/fdinfo/FD.
func ParseFDInfo(b []byte) (FDInfo, error) {
	var info FDInfo
	seen := 0
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.HasPrefix(key, []byte("inotify ")):
			info.Inotify = append(info.Inotify, string(line))
			continue
		case bytes.HasPrefix(key, []byte("fanotify ")):
			info.Fanotify = append(info.Fanotify, string(line))
			continue
		}
		parse, known := fdLines[string(key)]
		if !known {
			info.Other = append(info.Other, Line{string(trim(key)), string(trim(value))})
			continue
		}
		if !parse(&info, trim(value)) {
			return FDInfo{}, badLine("fdinfo", n, line, "not understood")
		}
		if n <= 3 {
			seen++
		}
	}
	// pos, flags and mnt_id begin every file; without them this is none.
	if seen < 3 {
		return FDInfo{}, badFile("fdinfo", "pos, flags and mnt_id are missing")
	}
	return info, nil
}

// Unknown gives the names of the lines that were not understood, for an error
// that refuses the file.
func (i *FDInfo) Unknown() []string {
	var names []string
	for _, l := range i.Other {
		names = append(names, l.Key)
	}
	return names
}
