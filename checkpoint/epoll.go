package checkpoint

import (
	"encoding/binary"
	"fmt"
	"sort"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// epollKind saves epoll(7). A watch is of a file and of the number that the file
// had when it was registered: that number may be another file's by now, or
// nobody's. So the watches are completed last, when all files are known.
func epollKind() fileKind {
	return fileKind{
		name:   "epoll",
		is:     anonymous("[eventpoll]"),
		refuse: refuseNews,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			e := &specs.Epoll{Description: base}
			busyPoll(int(own.Fd()), e)
			return e, nil
		},
		complete: func(d *dump, f *openFile) error { return d.watches(f, f.record.(*specs.Epoll)) },
	}
}

// getParams is EPIOCGPARAMS (ioctl_eventpoll(2)).
const getParams = 0x80088a02

// busyPoll asks for the parameters of busy polling. Kernels without it have none
// (before Linux 6.9, or without CONFIG_NET_RX_BUSY_POLL).
func busyPoll(fd int, e *specs.Epoll) {
	var b [8]byte
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), getParams, uintptr(unsafe.Pointer(&b))); errno != 0 {
		return
	}
	e.BusyPollUsecs = binary.NativeEndian.Uint32(b[:])
	e.BusyPollBudget = uint32(binary.NativeEndian.Uint16(b[4:]))
	e.PreferBusyPoll = b[6] != 0
}

// watches finds what an epoll instance watches.
func (d *dump) watches(f *openFile, e *specs.Epoll) error {
	own, err := f.dup()
	if err != nil {
		return err
	}
	// The kernel counts those with the same number in the order of fdinfo.
	seen := map[int]uint32{}
	e.Watches = make([]specs.Watch, 0, len(f.info.Epoll))
	for i := range f.info.Epoll {
		w := &f.info.Epoll[i]
		slot := epollSlot{uint32(own.Fd()), uint32(w.FD), seen[w.FD]}
		seen[w.FD]++
		target := d.files.watched(f, w, &slot)
		if target == nil {
			return f.unsupported(fmt.Sprintf("watches a file, registered as descriptor %d, that no task of the container has", w.FD),
				"remove it from the epoll instance before the checkpoint")
		}
		e.Watches = append(e.Watches, specs.Watch{FD: int32(w.FD), File: target.id, Events: w.Events, Data: w.Data})
	}
	return nil
}

// epollSlot is struct kcmp_epoll_slot (kcmp(2)).
type epollSlot struct{ epoll, target, offset uint32 }

// kcmpEpollTFD is KCMP_EPOLL_TFD: it orders as KCMP_FILE does.
const kcmpEpollTFD = 7

// than compares a description with the one that is watched.
func (s *epollSlot) than(f *openFile) int {
	return kcmp(f.proc.at, unix.Getpid(), kcmpEpollTFD, uintptr(f.fd), uintptr(unsafe.Pointer(s)))
}

// watched finds the description that a watch is of: most often it still has the
// number, else it is among those that look alike, else anywhere.
func (fs *files) watched(f *openFile, w *procfs.EpollWatch, slot *epollSlot) *openFile {
	here := f.proc.files[w.FD]
	// The kernel looks through all watches for each answer of kcmp(2): that is too
	// long for thousands of connections, and an inode of a socket is one file's.
	if here.isSocket(w) || here != nil && slot.than(here) == 0 {
		return here
	}
	if fs.alike == nil {
		fs.alike = map[uint64][]fileKey{}
		for key := range fs.buckets {
			fs.alike[key.ino] = append(fs.alike[key.ino], key)
		}
	}
	for _, key := range fs.alike[w.Ino] {
		if bucket := fs.buckets[key]; len(bucket) == 1 && bucket[0].isSocket(w) {
			return bucket[0]
		}
		if o := search(fs.buckets[key], slot); o != nil {
			return o
		}
	}
	// Some file systems show another number in stat(2) than the kernel uses.
	for _, bucket := range fs.buckets {
		if o := search(bucket, slot); o != nil {
			return o
		}
	}
	return nil
}

// isSocket tells whether f is a socket, and the one of the watch: sockets have an
// inode for each description (net/socket.c).
func (f *openFile) isSocket(w *procfs.EpollWatch) bool {
	return f != nil && f.stat.Mode&unix.S_IFMT == unix.S_IFSOCK && f.stat.Ino == w.Ino &&
		unix.Major(f.stat.Dev) == w.Major() && unix.Minor(f.stat.Dev) == w.Minor()
}

// search finds the watched description in an ordered bucket.
func search(bucket []*openFile, slot *epollSlot) *openFile {
	const less = 1
	i := sort.Search(len(bucket), func(i int) bool { return slot.than(bucket[i]) != less })
	if i < len(bucket) && slot.than(bucket[i]) == 0 {
		return bucket[i]
	}
	return nil
}
