package restore

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// Flags of shmat(2) and commands of shmctl(2) (include/uapi/linux/shm.h).
const (
	shmExec    = 0o100000
	shmHugeTLB = 0o4000
	shmLock    = 11
)

// restoreSysVShm makes every segment of shared memory; makeContents fills it. Until all
// tasks have attached what they had, everyone may: tasks that gave up rights
// have them still, or never had them.
func restoreSysVShm(r *restorer) error {
	// Those that have a key still come first.
	segments := records[*specs.SysVShm](r)
	slices.SortStableFunc(segments, func(a, b *specs.SysVShm) int { return destroyed(a) - destroyed(b) })
	for _, rec := range segments {
		if err := r.makeSegment(rec); err != nil {
			return ipcFailure(rec, err)
		}
	}
	return nil
}

// ipcFailure names a segment in an error.
func ipcFailure(s *specs.SysVShm, err error) error {
	if err == nil {
		return nil
	}
	return ipcError("System V shared memory", &s.IPCPerm, err)
}

func destroyed(s *specs.SysVShm) int {
	if s.Destroyed {
		return 1
	}
	return 0
}

func (r *restorer) makeSegment(s *specs.SysVShm) error {
	object, err := get[*specs.Shared](r, s.Object)
	if err != nil {
		return err
	}
	flags := uintptr(0)
	if object.HugePage != 0 {
		flags = shmHugeTLB | uintptr(object.HugePage)<<unix.MAP_HUGE_SHIFT
	}
	if err := r.ipc.makeObject(&s.IPCPerm, "shm", flags, func(key, flags uintptr) (uintptr, unix.Errno) {
		if s.Destroyed {
			id, _, errno := unix.RawSyscall(unix.SYS_SHMGET, uintptr(uint32(s.NameKey)), uintptr(s.Size), flags)
			if errno != unix.EEXIST {
				return id, errno // its key goes when it is destroyed
			}
		}
		id, _, errno := unix.RawSyscall(unix.SYS_SHMGET, key, uintptr(s.Size), flags)
		return id, errno
	}); err != nil {
		return err
	}
	if s.Locked {
		if err := r.ipc.control(unix.SYS_SHMCTL, s.ID, 0, shmLock, nil); err != nil {
			return fmt.Errorf("lock: %w", err)
		}
	}
	if len(object.Pages) == 0 && object.Full {
		return r.fillSegment(s, object)
	}
	return nil
}

// fillSegment gives a segment its contents.
func (r *restorer) fillSegment(s *specs.SysVShm, object *specs.Shared) error {
	return r.ipc.do(func() error {
		addr, _, errno := unix.Syscall(unix.SYS_SHMAT, uintptr(s.ID), 0, 0)
		if errno != 0 {
			return fmt.Errorf("attach: %w", errno)
		}
		defer unix.Syscall(unix.SYS_SHMDT, addr, 0, 0)
		// Not the collector's memory: the address is the kernel's.
		mem := unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), (s.Size+pageSize-1)&^(pageSize-1))
		if object.Full {
			_ = unix.Madvise(mem, unix.MADV_POPULATE_WRITE)
		}
		return r.fillMemory(mem, object.Pages)
	})
}

// fillMemory reads extents, whose starts are offsets, into memory of ours.
func (r *restorer) fillMemory(mem []byte, extents []specs.Extent) error {
	return r.img.Extents(extents, func(start uint64, b []byte) error {
		if start+uint64(len(b)) > uint64(len(mem)) {
			return fmt.Errorf("%w: pages at %#x are beyond its end", ErrUnfit, start)
		}
		copy(mem[start:], b)
		return nil
	})
}

// finishSysVShm gives the segments their owners and permissions, and marks those
// that go with their last attach, now that all tasks have attached them.
func finishSysVShm(r *restorer) error {
	for _, s := range records[*specs.SysVShm](r) {
		err := r.ipc.setPerm(unix.SYS_SHMCTL, &s.IPCPerm)
		if err == nil && s.Destroyed {
			const remove = 0 // IPC_RMID
			err = r.ipc.control(unix.SYS_SHMCTL, s.ID, 0, remove, nil)
		}
		if err != nil {
			return ipcError("System V shared memory", &s.IPCPerm, err)
		}
	}
	return nil
}

// An attach is one shmat(2) by the task: several areas if parts of it were
// unmapped or protected in another way.
type attach struct {
	shmid      int32
	base, size uint64
	flags      uint64
	pieces     []specs.Area
}

// attaches puts the areas of each attach together.
func (b *builder) attaches() ([]*attach, error) {
	sizes := map[int32]uint64{}
	for _, s := range records[*specs.SysVShm](b.r) {
		sizes[s.ID] = (s.Size + pageSize - 1) &^ (pageSize - 1)
	}
	type key struct {
		shmid int32
		base  uint64
		ro    bool
	}
	found := map[key]*attach{}
	var list []*attach
	for _, a := range b.t.mm.Areas {
		if a.Shmid == 0 {
			continue
		}
		k := key{a.Shmid, a.Start - a.Offset, a.ReadOnly}
		at := found[k]
		if at == nil {
			size, ok := sizes[a.Shmid-1]
			if !ok {
				return nil, fmt.Errorf("%w: mapping %x-%x is of System V shared memory %d, which is not in it", ErrUnfit, a.Start, a.End, a.Shmid-1)
			}
			at = &attach{shmid: a.Shmid - 1, base: k.base, size: size}
			if a.ReadOnly {
				at.flags |= unix.SHM_RDONLY
			}
			found[k] = at
			list = append(list, at)
		}
		if a.Prot&unix.PROT_EXEC != 0 {
			at.flags |= shmExec
		}
		at.pieces = append(at.pieces, a)
	}
	return list, nil
}

// attachAll has the task attach its segments: whole ones in their places, of
// others what is left of them is moved there from another place.
func (b *builder) attachAll() error {
	list, err := b.attaches()
	if err != nil {
		return err
	}
	for _, at := range list {
		what := fmt.Sprintf("attach System V shared memory %d at %x", at.shmid, at.base)
		if first := at.pieces[0]; len(at.pieces) == 1 && first.Offset == 0 && first.End-first.Start >= at.size {
			b.add(what, unix.SYS_SHMAT, uint64(at.shmid), at.base, at.flags)
			continue
		}
		if err := b.flush(); err != nil {
			return err
		}
		from, err := b.r.call(b.t, unix.SYS_SHMAT, uint64(at.shmid), 0, at.flags)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		for _, a := range at.pieces {
			size := a.End - a.Start
			b.add(what, unix.SYS_MREMAP, uint64(from)+a.Offset, size, size, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, a.Start)
		}
		b.add(what, unix.SYS_MUNMAP, uint64(from), at.size)
	}
	return nil
}
