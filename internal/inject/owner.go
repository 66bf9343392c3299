package inject

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// owner is the robust list of the tracer's thread: what the kernel does for the
// tasks when that thread dies (set_robust_list(2), kernel/futex/core.c). It is used on that thread only.
type owner struct {
	page []byte
	head *robustHead
	tid  uint32
	// guarded are the slots on the list, the last in first.
	guarded []*slot
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

// guard puts the slot's owner word at the head of the list. At every moment the list is one that the kernel can
// go through: the slot leads on before anything leads to it.
func (o *owner) guard(s *slot) {
	s.ownerw = o.tid | futexWaiters
	atomic.StoreUint64(&s.node, o.head.next)
	atomic.StoreUint64(&o.head.next, uint64(uintptr(unsafe.Pointer(&s.node))))
	o.guarded = append(o.guarded, s)
}

// release takes a slot off the list: what led to it leads on.
func (o *owner) release(s *slot) {
	i := slices.Index(o.guarded, s)
	if i < 0 {
		return
	}
	to := &o.head.next
	if i+1 < len(o.guarded) {
		to = &o.guarded[i+1].node
	}
	atomic.StoreUint64(to, s.node)
	o.guarded = slices.Delete(o.guarded, i, i+1)
}

// clear makes the list empty.
func (o *owner) clear() {
	o.head.next = o.self()
	o.guarded = nil
}

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
