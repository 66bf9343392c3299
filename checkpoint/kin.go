package checkpoint

import (
	"slices"

	"golang.org/x/sys/unix"
)

// kin are processes that do not share their objects of one kind, in the order that kcmp(2) gives: the first that is
// met of those that do. To compare each process with each other one would take a second with a thousand of them.
type kin struct {
	kind int
	list []*process
}

func newKin(kind int) *kin { return &kin{kind: kind} }

// add returns the process, added before, that shares its object with p; nil if there is none.
func (k *kin) add(p *process) *process {
	i, found := slices.BinarySearchFunc(k.list, p, func(o, p *process) int { return kcmpOrder(o.at, p.at, k.kind, 0, 0) })
	if found {
		return k.list[i]
	}
	k.list = slices.Insert(k.list, i, p)
	return nil
}

// Types of kcmp(2) (include/uapi/linux/kcmp.h).
const (
	kcmpFile  = 0
	kcmpVM    = 1
	kcmpFiles = 2
	kcmpFS    = 3
)

// kcmp is kcmp(2): 0 for the same object, 1 or 2 for an order, -1 for an error.
func kcmp(pid1, pid2, kind int, idx1, idx2 uintptr) int {
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(pid1), uintptr(pid2), uintptr(kind), idx1, idx2, 0)
	if errno != 0 {
		return -1
	}
	return int(r)
}

// kcmpOrder is kcmp as a comparison: 0 for the same object, else the order that the kernel gives.
func kcmpOrder(pid1, pid2, kind int, idx1, idx2 uintptr) int {
	switch kcmp(pid1, pid2, kind, idx1, idx2) {
	case 0:
		return 0
	case 1:
		return -1
	}
	return 1
}
