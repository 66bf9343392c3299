package inject

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// owner is the robust list of the tracer's thread: what the kernel does for the
// tasks when that thread dies (set_robust_list(2), kernel/futex/core.c). It is used on that thread only.
type owner struct {
	page []byte
	head *robustHead
	tid  uint32
	// stuck tells that the list must stay as it is until our thread ends.
	stuck bool
}

// robustHead is struct robust_list_head.
type robustHead struct {
	next    uint64
	offset  int64
	pending uint64
}

// newOwner registers an empty robust list for the calling thread, which must be
// locked and never given back to the Go scheduler.
func newOwner() (*owner, error) {
	// Memory of its own, outside Go's heap: the kernel reads it after the thread
	// has run its last instruction.
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map robust list: %w", err)
	}
	o := &owner{page: page, head: (*robustHead)(unsafe.Pointer(&page[0])), tid: uint32(unix.Gettid())}
	o.head.offset = ownerOff - nodeOff
	o.clear()
	_, _, errno := unix.Syscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(o.head)), unsafe.Sizeof(*o.head), 0)
	if errno != 0 {
		return nil, errors.Join(fmt.Errorf("register robust list: %w", errno), unix.Munmap(page))
	}
	return o, nil
}

func (o *owner) self() uint64 { return uint64(uintptr(unsafe.Pointer(o.head))) }

// guard puts the slot's owner word under the list.
func (o *owner) guard(s *slot) {
	s.ownerw = o.tid | futexWaiters
	s.node = o.self()
	o.head.next = uint64(uintptr(unsafe.Pointer(&s.node)))
}

// clear takes what is guarded off the list.
func (o *owner) clear() { o.head.next = o.self() }

// close gives the list back.
func (o *owner) close() error {
	if o.stuck {
		return nil
	}
	_, _, errno := unix.Syscall(unix.SYS_SET_ROBUST_LIST, 0, unsafe.Sizeof(*o.head), 0)
	if errno != 0 {
		return fmt.Errorf("unregister robust list: %w", errno)
	}
	return unix.Munmap(o.page)
}
