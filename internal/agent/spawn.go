package agent

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespaces are the flags that Spawn takes. A new time namespace is not among
// them: it begins with a child that has a memory of its own.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET |
	unix.CLONE_NEWPID | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUSER

// Placeholder says what Spawn makes.
type Placeholder struct {
	// SetTID are the wanted pids, innermost namespace first, as in clone3(2).
	// Namespaces that are not covered choose by themselves. Needs
	// CAP_CHECKPOINT_RESTORE.
	SetTID []int
	// Namespaces are CLONE_NEW* flags (not CLONE_NEWTIME).
	Namespaces uint64
	// Exe is the program that is executed, Args its argv; the environment is
	// empty.
	Exe  string
	Args []string
}

// Spawned is a child that waits, in front of its execve(2), for Exec. Until
// then it shares the memory of our program: it can be seized with ptrace, but
// nothing may be written to its memory or run in it.
type Spawned struct {
	// PID is its number in our pid namespace.
	PID int

	pidfd, pipe int // pipe is the write end, -1 after Exec
	mem         []byte
	block       *execute
}

// execute is what the child of cloneExec does: it closes all descriptors above
// stderr but pipe, reads one byte from pipe, sets the signal mask, and executes.
// At the end of file, when we died, it exits. The assembly knows the layout up
// to buf.
type execute struct {
	pipe             uint64
	path, argv, envp uintptr
	result           int64 // what execve(2) returned
	mask             uint64
	buf              uint64
	alive            uint32 // cleared by the kernel when the child leaves our memory
	pidfd            int32
	tids             [32]int32 // MAX_PID_NS_LEVEL of the kernel
}

// Spawn starts a child that can be caught at the first instruction of p.Exe:
// seize it with PTRACE_O_TRACEEXEC, then call Exec. Its exit signal is SIGCHLD,
// and it is up to the caller to wait for it after Exec.
//
// It is made by the calling thread and inherits its namespaces, root, session,
// and descriptors 0, 1 and 2. A pid that is in use gives EEXIST.
func Spawn(p Placeholder) (*Spawned, error) {
	s, err := spawn(p)
	if err != nil {
		return nil, fmt.Errorf("start placeholder %s with pids %v: %w", p.Exe, p.SetTID, err)
	}
	return s, nil
}

func spawn(p Placeholder) (*Spawned, error) {
	if err := supported(); err != nil {
		return nil, err
	}
	if p.Namespaces&^namespaces != 0 {
		return nil, fmt.Errorf("clone flags %#x: %w", p.Namespaces, unix.EINVAL)
	}
	s := &Spawned{pidfd: -1, pipe: -1}
	if err := s.layOut(p); err != nil {
		return nil, err
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		s.free()
		return nil, fmt.Errorf("pipe2: %w", err)
	}
	defer unix.Close(ends[0])
	s.pipe = ends[1]
	b := s.block
	b.pipe = uint64(ends[0])
	args := &cloneArgs{
		// The Go runtime's handlers must not run in the child once Exec
		// unblocks its signals.
		flags: p.Namespaces | unix.CLONE_VM | unix.CLONE_CLEAR_SIGHAND |
			unix.CLONE_PIDFD | unix.CLONE_CHILD_CLEARTID,
		pidfd:      uint64(uintptr(unsafe.Pointer(&b.pidfd))),
		childTID:   uint64(uintptr(unsafe.Pointer(&b.alive))),
		exitSignal: uint64(unix.SIGCHLD),
		stack:      uint64(uintptr(unsafe.Pointer(&s.mem[0]))),
		stackSize:  uint64(len(s.mem)) / 2,
	}
	if n := len(p.SetTID); n > 0 {
		args.setTID, args.setTIDSize = uint64(uintptr(unsafe.Pointer(&b.tids))), uint64(n)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.alive = 1
	if err := blocked(func() { s.PID = cloneExec(args, unsafe.Sizeof(*args), b) }); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if s.PID < 0 {
		err := unix.Errno(-s.PID)
		b.alive, s.PID = 0, 0
		unix.Close(s.pipe)
		s.free()
		return nil, fmt.Errorf("clone3: %w%s", err, hint(err))
	}
	s.pidfd = int(b.pidfd)
	return s, nil
}

// layOut maps the child's memory: the lower half is its stack, which it does
// not use, the upper half its arguments.
func (s *Spawned) layOut(p Placeholder) error {
	text := len(p.Exe) + 1
	for _, a := range p.Args {
		text += len(a) + 1
	}
	half := (int(unsafe.Sizeof(execute{})) + 8*(len(p.Args)+2) + text + 4095) &^ 4095
	mem, err := unix.Mmap(-1, 0, 2*half, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	s.mem, s.block = mem, (*execute)(unsafe.Pointer(&mem[half]))
	if len(p.SetTID) > len(s.block.tids) {
		s.free()
		return fmt.Errorf("%d levels of pid namespaces: %w", len(p.SetTID), unix.EINVAL)
	}
	for i, tid := range p.SetTID {
		s.block.tids[i] = int32(tid)
	}
	pointers := mem[half+int(unsafe.Sizeof(execute{})):]
	texts := pointers[8*(len(p.Args)+2):]
	put := func(v string) uintptr {
		at := uintptr(unsafe.Pointer(&texts[0]))
		texts = texts[copy(texts, v)+1:]
		return at
	}
	vector := unsafe.Slice((*uintptr)(unsafe.Pointer(&pointers[0])), len(p.Args)+2)
	s.block.path = put(p.Exe)
	for i, a := range p.Args {
		vector[i] = put(a)
	}
	s.block.argv = uintptr(unsafe.Pointer(&vector[0]))
	s.block.envp = uintptr(unsafe.Pointer(&vector[len(p.Args)+1]))
	return nil
}

// Exec lets the child call execve(2), with no signal blocked, and does not wait
// for it. The first call counts.
func (s *Spawned) Exec() error {
	if s.pipe < 0 {
		return nil
	}
	_, err := unix.Write(s.pipe, []byte{1})
	if err != nil {
		return fmt.Errorf("let placeholder %d execute: %w", s.PID, err)
	}
	unix.Close(s.pipe)
	s.pipe = -1
	return nil
}

// Err tells why the execve failed after which the child exited with status 127;
// nil if it did not fail.
func (s *Spawned) Err() error {
	if s.block == nil {
		return nil
	}
	if r := atomic.LoadInt64(&s.block.result); r < 0 {
		return fmt.Errorf("execute placeholder %d: %w", s.PID, unix.Errno(-r))
	}
	return nil
}

// Close gives up what is held for the child. One that was not let go is killed
// and reaped; one that was is left alone, but it must have come to its first
// instruction or its end, else EBUSY is returned.
func (s *Spawned) Close() error {
	if s.mem == nil {
		return nil
	}
	if s.pipe >= 0 {
		unix.Close(s.pipe)
		s.pipe = -1
		if err := s.kill(); err != nil {
			return fmt.Errorf("end placeholder %d: %w", s.PID, err)
		}
	}
	if atomic.LoadUint32(&s.block.alive) != 0 {
		return fmt.Errorf("placeholder %d has not executed yet: %w", s.PID, unix.EBUSY)
	}
	unix.Close(s.pidfd)
	s.free()
	return nil
}

func (s *Spawned) kill() error {
	if err := unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return err
	}
	for {
		err := unix.Waitid(unix.P_PIDFD, s.pidfd, nil, unix.WEXITED|unix.WALL, nil)
		switch err {
		case nil, unix.ECHILD:
			return nil
		case unix.EINTR:
		default:
			return err
		}
	}
}

func (s *Spawned) free() {
	unix.Munmap(s.mem)
	s.mem, s.block = nil, nil
}
