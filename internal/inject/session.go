package inject

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// Injector enters stopped threads, one at a time. It belongs to a tracer's
// thread.
type Injector struct {
	owner *owner
}

// New makes an Injector for the calling tracer's thread.
func New() (*Injector, error) {
	if err := machineError(); err != nil {
		return nil, err
	}
	o, err := newOwner()
	if err != nil {
		return nil, err
	}
	return &Injector{o}, nil
}

// Close gives back what the Injector holds; no Session may be open.
func (i *Injector) Close() error { return i.owner.close() }

// Session is a stay in a stopped thread.
type Session struct {
	in     *Injector
	thread *ptrace.Thread
	mem    *os.File
	home   ptrace.Registers
	mask   uint64
	stub   stub
	stubAt uint64
	// arena is our mapping of the arena, which the task has at base.
	arena []byte
	base  uint64
}

// everything is the mask that blocks all signals that can be blocked.
const everything = ^uint64(0)

// Enter brings the blob into the thread, which stands in a Trap or Group stop.
// mem is /proc/PID/mem of its process, open for writing; home are the registers
// with which the thread shall go on. Leave must be called whatever comes of the
// session; if Enter fails it has done so.
func (i *Injector) Enter(t *ptrace.Thread, mem *os.File, place Place, home ptrace.Registers) (*Session, error) {
	if i.owner.stuck {
		return nil, &Error{"enter", t.TID, errStuck}
	}
	mask, err := t.SigMask()
	if err != nil {
		return nil, err
	}
	s := &Session{in: i, thread: t, mem: mem, home: home, mask: mask, base: place.Arena}
	if err := s.plant(place); err != nil {
		return nil, err
	}
	if err := s.bootstrap(); err != nil {
		return nil, errors.Join(err, s.Leave())
	}
	return s, nil
}

// plant writes the stub into the tail of the vdso.
func (s *Session) plant(place Place) error {
	if place.VDSO.End-place.VDSO.Start < stubSize {
		return &Error{"find vdso", s.thread.TID, ErrNoVDSO}
	}
	s.stubAt = place.VDSO.End - stubSize
	var old [stubSize]byte
	if _, err := s.mem.ReadAt(old[:], int64(s.stubAt)); err != nil {
		return &Error{"read vdso", s.thread.TID, err}
	}
	if old != [stubSize]byte{} && !bytes.HasPrefix(old[:], stubMagic) {
		return &Error{"find vdso", s.thread.TID, ErrNoVDSO}
	}
	way := Restarted(s.home)
	s.stub = newStub(s.stubAt, s.base, &way, s.mask)
	code := make([]byte, stubSize)
	copy(code, s.stub.code)
	if _, err := s.mem.WriteAt(code, int64(s.stubAt)); err != nil {
		return &Error{"write stub", s.thread.TID, err}
	}
	return nil
}

// bootstrap has the stub map the arena, and puts the blob to sleep in it.
func (s *Session) bootstrap() error {
	regs := s.home
	jump(&regs, s.stub.enter)
	if err := s.thread.SetRegisters(&regs); err != nil {
		return err
	}
	if err := s.thread.SetSigMask(everything); err != nil {
		return err
	}
	for range 2 { // the entry and the exit of mmap
		if err := s.thread.AwaitSyscall(); err != nil {
			return err
		}
	}
	now, err := s.thread.Registers()
	if err != nil {
		return err
	}
	if ret := resultOf(&now); uint64(ret) != s.base {
		return &Error{"mmap", s.thread.TID, unix.Errno(-ret)}
	}
	if err := s.share(); err != nil {
		return err
	}
	regs = s.home
	enterBlob(&regs, s.base, s.base+slotOff, 0)
	if err := s.thread.SetRegisters(&regs); err != nil {
		return err
	}
	return s.thread.Cont(0)
}

// share maps the arena here and fills it.
func (s *Session) share() error {
	name := fmt.Sprintf("/proc/%d/map_files/%x-%x", s.thread.TID, s.base, s.base+Size)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return &Error{"open arena of", s.thread.TID, err}
	}
	defer f.Close()
	s.arena, err = unix.Mmap(int(f.Fd()), 0, Size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return &Error{"map arena of", s.thread.TID, err}
	}
	copy(s.arena, blobCode())
	k := s.slot()
	at := s.base + slotOff
	k.owner = at + ownerOff
	k.waitv = [2]waitv{{uaddr: at, flags: futexSize32}, {uaddr: at + ownerOff, flags: futexSize32}}
	k.flags, k.leave, k.stack = flagsOf(&s.home), s.stub.leave, s.base+Size
	s.in.owner.guard(k)
	k.waitv[1].val = uint64(k.ownerw)
	return nil
}

func (s *Session) slot() *slot { return (*slot)(unsafe.Pointer(&s.arena[slotOff])) }

// Data is the room in the arena for arguments and results, and its address in
// the task.
func (s *Session) Data() ([]byte, uint64) {
	return s.arena[dataOff : Size-stackSize], s.base + dataOff
}

// Run has the thread make the calls, in order, and fills in their results. It
// does not look at them.
func (s *Session) Run(calls []Call) error {
	for len(calls) > 0 {
		n := min(len(calls), MaxCalls)
		if err := s.batch(calls[:n]); err != nil {
			return err
		}
		calls = calls[n:]
	}
	return nil
}

func (s *Session) batch(calls []Call) error {
	k := s.slot()
	room := unsafe.Slice((*Call)(unsafe.Pointer(&s.arena[slotOff+callsOff])), MaxCalls)
	copy(room, calls)
	k.count = uint64(len(calls))
	command := atomic.AddUint32(&k.command, 1)
	futexWake(&k.command)
	deadline := time.Now().Add(ptrace.Patience)
	for n := 0; atomic.LoadUint32(&k.done) != command; n++ {
		if err := s.check(deadline); err != nil {
			return err
		}
		s.thread.Pause(n)
	}
	copy(calls, room)
	return nil
}

// check finds out why a batch takes long: the thread may have ended, or have
// been stopped by a signal that cannot be blocked.
func (s *Session) check(deadline time.Time) error {
	stop, stopped, err := s.thread.Poll()
	switch {
	case err != nil:
		return err
	case !stopped && time.Now().After(deadline):
		return &Error{"run a batch", s.thread.TID, ptrace.ErrTimeout}
	case !stopped:
		return nil
	case stop.Kind >= ptrace.Exited:
		return &Error{"run a batch", s.thread.TID, ptrace.ErrGone}
	case stop.Kind == ptrace.Signal && stop.Signal != int(unix.SIGSTOP):
		return &Error{"run a batch", s.thread.TID, fmt.Errorf("unexpected signal %d", stop.Signal)}
	case stop.Kind == ptrace.Signal:
		return s.thread.Cont(stop.Signal)
	}
	return s.thread.Cont(0)
}

// errStuck tells that a former session could not leave its thread.
var errStuck = errors.New("another thread could not be left; it is when this tracer ends")

// Leave takes all back: the thread stands in a Trap or Group stop as before
// Enter. If it fails, no more threads can be entered, and the thread finds home by itself
// when the tracer's thread ends.
func (s *Session) Leave() error {
	regs := s.home
	jump(&regs, s.stub.leave)
	steps := []func() error{
		func() error { return s.halt() },
		func() error { return s.thread.SetRegisters(&regs) },
		func() error { return s.thread.AwaitSyscall() }, // into munmap
		func() error { return s.halt() },                // the next stop is behind it
		func() error { return s.thread.SetSigMask(s.mask) },
		func() error { return s.thread.SetRegisters(&s.home) },
		func() error {
			_, err := s.mem.WriteAt(make([]byte, stubSize), int64(s.stubAt))
			return err
		},
	}
	var err error
	for _, step := range steps {
		if err = step(); err != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, ptrace.ErrGone) {
		// The thread may be in the blob: only our thread's end leads it home, which
		// must find the list and the arena as they are.
		s.in.owner.stuck = true
		return err
	}
	if s.arena != nil {
		s.in.owner.release(s.slot())
		err = errors.Join(err, unix.Munmap(s.arena))
		s.arena = nil
	}
	return err
}

func (s *Session) halt() error {
	_, err := s.thread.Halt()
	return err
}

func futexWake(word *uint32) {
	const wake = 1
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), wake, 1<<30, 0, 0, 0)
}

func futexWait(word *uint32, value uint32, limit time.Duration) {
	const wait = 0
	ts := unix.NsecToTimespec(int64(limit))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), wait, uintptr(value), uintptr(unsafe.Pointer(&ts)), 0, 0)
}
