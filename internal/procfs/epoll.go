package procfs

import (
	"bytes"
	"math"
)

// EpollWatch is one watch of an epoll(7) (fs/eventpoll.c, ep_show_fdinfo).
type EpollWatch struct {
	// FD is the number under which the file was registered, which may be
	// another file's, or nobody's, by now.
	FD int
	// Events are EPOLL* with flags, Data the user's 64 bits.
	Events uint32
	Data   uint64
	// Pos is the file's offset, Ino and Dev tell which file is watched. Dev is
	// the kernel's own form of s_dev, major<<20 | minor. Anonymous files
	// (eventfd, timerfd...) share one inode: KCMP_EPOLL_TFD of kcmp(2) tells
	// them apart.
	Pos int64
	Ino uint64
	Dev uint32
}

// Major and Minor are the device that Dev stands for.
func (w *EpollWatch) Major() uint32 { return w.Dev >> 20 }

// Minor is the minor number of Dev.
func (w *EpollWatch) Minor() uint32 { return w.Dev & (1<<20 - 1) }

// parseWatch reads "4 events: 19 data: deadbeef  pos:0 ino:40e sdev:10". Kernels
// before 3.19 leave out all behind data.
func (i *FDInfo) parseWatch(v []byte) bool {
	var w EpollWatch
	fd, rest := nextField(v)
	var ok bool
	if w.FD, ok = parsePID(fd); !ok {
		return false
	}
	var events, dev uint64
	have := 0
	for len(trim(rest)) > 0 {
		key, after, found := bytes.Cut(rest, []byte(":"))
		if !found {
			return false
		}
		var value []byte
		value, rest = nextField(after)
		switch string(trim(key)) {
		case "events":
			events, ok = parseUint(value, 16)
			have |= 1
		case "data":
			w.Data, ok = parseUint(value, 16)
			have |= 2
		case "pos":
			w.Pos, ok = parseInt(value)
		case "ino":
			w.Ino, ok = parseUint(value, 16)
		case "sdev":
			dev, ok = parseUint(value, 16)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	if have != 3 || events > math.MaxUint32 || dev > math.MaxUint32 {
		return false
	}
	w.Events, w.Dev = uint32(events), uint32(dev)
	i.Epoll = append(i.Epoll, w)
	return true
}
