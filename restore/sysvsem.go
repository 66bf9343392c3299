package restore

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

const (
	semSetAll = 17 // SETALL
	semMax    = 32767
	semUndo   = 0x1000 // SEM_UNDO
)

// restoreSysVSem makes every set of semaphores with its values.
func restoreSysVSem(r *restorer) error {
	for _, s := range records[*specs.SysVSem](r) {
		if len(s.Values) == 0 {
			return ipcError("System V semaphores", &s.IPCPerm, fmt.Errorf("%w: the set is empty", ErrUnfit))
		}
		err := r.ipc.makeObject(&s.IPCPerm, "sem", 0, func(key, flags uintptr) (uintptr, unix.Errno) {
			id, _, errno := unix.RawSyscall(unix.SYS_SEMGET, key, uintptr(len(s.Values)), flags)
			return id, errno
		})
		if err == nil {
			err = r.ipc.control(unix.SYS_SEMCTL, s.ID, 0, semSetAll, unsafe.Pointer(&s.Values[0]))
		}
		if err != nil {
			return ipcError("System V semaphores", &s.IPCPerm, err)
		}
	}
	return nil
}

// finishSysVSem has the tasks take upon them what they give back when they end,
// and be the last who operated on their semaphores; then owners and permissions
// are set, which the tasks may not satisfy.
func finishSysVSem(r *restorer) error {
	for _, s := range records[*specs.SysVSem](r) {
		if err := r.finishSet(s); err != nil {
			return ipcError("System V semaphores", &s.IPCPerm, err)
		}
	}
	return nil
}

func (r *restorer) finishSet(s *specs.SysVSem) error {
	for _, u := range s.Undo {
		if int(u.Semaphore) >= len(s.Values) {
			return fmt.Errorf("%w: semaphore %d does not exist", ErrUnfit, u.Semaphore)
		}
		if err := r.semop(s.ID, u.PID, adjustment(u.Semaphore, int(s.Values[u.Semaphore]), int(u.Adjust))); err != nil {
			return fmt.Errorf("what task %d gives back: %w", u.PID, err)
		}
	}
	for i, pid := range s.PIDs {
		if pid == 0 || i >= len(s.Values) {
			continue
		}
		by := 1
		if s.Values[i] > 0 {
			by = -1
		}
		if err := r.semop(s.ID, pid, []semop{{uint16(i), int16(by), ipcNoWait}, {uint16(i), int16(-by), ipcNoWait}}); err != nil {
			return fmt.Errorf("last operation by task %d: %w", pid, err)
		}
	}
	return r.ipc.setPerm(unix.SYS_SEMCTL, &s.IPCPerm)
}

// semop is struct sembuf of semop(2).
type semop struct {
	num       uint16
	op, flags int16
}

// adjustment are operations that leave a semaphore at its value and have by be
// added to it when the process ends. All values on the way are within 0..32767.
func adjustment(num uint16, value, by int) []semop {
	var ops []semop
	step := func(by, flags int) {
		if by != 0 {
			ops = append(ops, semop{num, int16(by), int16(flags | ipcNoWait)})
		}
	}
	step(-value, 0)
	for by != 0 {
		part := max(min(by, semMax), -semMax)
		// The operation that is undone is the opposite.
		if part > 0 {
			step(part, 0)
			step(-part, semUndo)
		} else {
			step(-part, semUndo)
			step(part, 0)
		}
		by -= part
	}
	step(value, 0)
	return ops
}

// semop has a task make operations, all of which must succeed.
func (r *restorer) semop(id, pid int32, ops []semop) error {
	for _, t := range r.made {
		if t.rec.PID != pid || t.ghost || t.rec.State == "zombie" {
			continue
		}
		data, at := t.arena.Data()
		for i, o := range ops {
			b := data[6*i:]
			binary.NativeEndian.PutUint16(b, o.num)
			binary.NativeEndian.PutUint16(b[2:], uint16(o.op))
			binary.NativeEndian.PutUint16(b[4:], uint16(o.flags))
		}
		_, err := r.call(t, unix.SYS_SEMOP, uint64(id), at, uint64(len(ops)))
		return err
	}
	return fmt.Errorf("%w: task %d is not in it", ErrUnfit, pid)
}
