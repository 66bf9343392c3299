package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of include/uapi/linux/ptrace.h.
const (
	ptracePeekSiginfo      = 0x4209
	ptraceSeccompGetFilter = 0x420c
	ptraceGetRseq          = 0x420f
	ptraceGetSyscallInfo   = 0x420e
	ptraceSetSyscallInfo   = 0x4212
	ptraceOSuspendSeccomp  = 1 << 21
)

// onThread runs f on a thread of its own, which ends with it: f may change what
// belongs to the thread.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the runtime throws the thread away.
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// stoppedChild starts a child that stops before its first instruction, traced by the
// calling thread, which must be locked. It is this program's own file, of which
// nothing is ever executed.
func stoppedChild() (pid int, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	pid, err = syscall.ForkExec("/proc/self/exe", []string{"rethaw-probe"}, &syscall.ProcAttr{
		Files: []uintptr{null.Fd(), null.Fd(), null.Fd()},
		Sys:   &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, wrap("starting a traced child", err)
	}
	if err := waitStop(pid); err != nil {
		reap(pid)
		return 0, err
	}
	return pid, nil
}

// waitStop waits until a traced child stands.
func waitStop(pid int) error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL|unix.WUNTRACED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return wrap("waiting for the child", err)
		}
		if !status.Stopped() {
			return fmt.Errorf("the child ended with status %#x", uint32(status))
		}
		return nil
	}
}

// reap kills a child.
func reap(pid int) {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, unix.WALL, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// ptrace makes one request.
func ptrace(request, pid int, addr uintptr, data unsafe.Pointer) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), addr, uintptr(data), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// traced runs f on a stopped child.
func traced(f func(pid int) error) error {
	return onThread(func() error {
		pid, err := stoppedChild()
		if err != nil {
			return err
		}
		defer reap(pid)
		return f(pid)
	})
}

// tryRseqConfiguration reads the registration of a child that has none.
func tryRseqConfiguration() error {
	return traced(func(pid int) error {
		var config [24]byte
		_, err := ptrace(ptraceGetRseq, pid, uintptr(len(config)), unsafe.Pointer(&config))
		return missing(wrap("PTRACE_GET_RSEQ_CONFIGURATION", err), unix.EIO, unix.EINVAL)
	})
}

// tryPeekSiginfo reads the empty queue of a child (struct ptrace_peeksiginfo_args).
func tryPeekSiginfo() error {
	return traced(func(pid int) error {
		args := struct {
			offset uint64
			flags  uint32
			count  int32
		}{0, 0, 1}
		var info [128]byte
		_, err := ptrace(ptracePeekSiginfo, pid, uintptr(unsafe.Pointer(&args)), unsafe.Pointer(&info))
		return missing(wrap("PTRACE_PEEKSIGINFO", err), unix.EIO)
	})
}

// trySetSyscallInfo gives a child back what PTRACE_GET_SYSCALL_INFO says: a stop
// outside of a system call, which cannot be set. EINVAL says so, EIO that the
// request is unknown.
func trySetSyscallInfo() error {
	return traced(func(pid int) error {
		var info [88]byte
		if _, err := ptrace(ptraceGetSyscallInfo, pid, uintptr(len(info)), unsafe.Pointer(&info)); err != nil {
			return missing(wrap("PTRACE_GET_SYSCALL_INFO", err), unix.EIO)
		}
		_, err := ptrace(ptraceSetSyscallInfo, pid, uintptr(len(info)), unsafe.Pointer(&info))
		if err == nil || errors.Is(err, unix.EINVAL) {
			return nil
		}
		return missing(wrap("PTRACE_SET_SYSCALL_INFO", err), unix.EIO)
	})
}

// trySuspendSeccomp sets the option on a child.
func trySuspendSeccomp() error {
	return traced(func(pid int) error {
		return missing(wrap("PTRACE_O_SUSPEND_SECCOMP", unix.PtraceSetOptions(pid, ptraceOSuspendSeccomp)), unix.EINVAL)
	})
}

// trySeccompGetFilter reads the filter of a child back. The filter, which allows
// everything, is installed by a thread that the child is forked from; as a tracer
// with a filter may not read filters, another thread takes the child over.
func trySeccompGetFilter() error {
	var pid int
	err := onThread(func() error {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return wrap("prctl(PR_SET_NO_NEW_PRIVS)", err)
		}
		allow := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000}}
		program := unix.SockFprog{Len: 1, Filter: &allow[0]}
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil {
			return missing(wrap("prctl(PR_SET_SECCOMP)", err), unix.EINVAL)
		}
		var err error
		if pid, err = stoppedChild(); err != nil {
			return err
		}
		// The stop signal takes hold before the child can run. This thread must
		// not end before the takeover: the child would die with it (PDEATHSIG).
		_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, uintptr(unix.SIGSTOP), 0, 0)
		if errno != 0 {
			return wrap("PTRACE_DETACH", errno)
		}
		return onThread(func() error { return readFilter(pid) })
	})
	if pid != 0 {
		reap(pid)
	}
	return err
}

// readFilter attaches to a stopped child and asks for its filter.
func readFilter(pid int) error {
	if err := unix.PtraceAttach(pid); err != nil {
		return wrap("PTRACE_ATTACH", err)
	}
	if err := waitStop(pid); err != nil {
		return err
	}
	n, err := ptrace(ptraceSeccompGetFilter, pid, 0, nil)
	if err != nil {
		return missing(wrap("PTRACE_SECCOMP_GET_FILTER", err), unix.EIO, unix.EINVAL)
	}
	if n != 1 {
		return absent("a filter of one instruction is read as %d", n)
	}
	return nil
}
