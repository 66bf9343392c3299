//go:build amd64

package fault

import "golang.org/x/sys/unix"

// Strike is what goes wrong, and where: at the Nth time, from 1 on, that the step Key is
// taken. One of the others says what.
type Strike struct {
	Key uint64
	Nth int
	// Kill ends the program with SIGKILL: after the call, or before it is made with Before.
	Kill, Before bool
	// Errno is what the call fails with; it is not made.
	Errno unix.Errno
	// Short makes a write of half of the bytes.
	Short bool
	// Do is done before the call is made, while the thread that makes it stands still.
	Do func()
}

// Outcome is what became of a run.
type Outcome struct {
	// Struck tells that the step came: runs differ in what their threads have to do.
	Struck bool
	// Code is the exit status, -1 if a signal ended it.
	Code int
	// Steps are those of a run that records.
	Steps []*Step
}

// errnos are the errors that calls are made to fail with: those of a full table, of a lack of
// memory or right, of a full or broken disk. A vanished task cannot be played by an ESRCH alone;
// Strike.Do can bring one about.
var errnos = func() map[uint64][]unix.Errno {
	m := map[uint64][]unix.Errno{}
	set := func(errs []unix.Errno, calls ...uint64) {
		for _, c := range calls {
			m[c] = errs
		}
	}
	set([]unix.Errno{unix.EMFILE, unix.ENOMEM, unix.EPERM},
		unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_OPEN, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_PIPE2, unix.SYS_SOCKET, unix.SYS_SOCKETPAIR,
		unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_MEMFD_CREATE, unix.SYS_EVENTFD2, unix.SYS_EPOLL_CREATE1, unix.SYS_TIMERFD_CREATE, sysBPF)
	set([]unix.Errno{unix.ENOSPC, unix.EIO},
		unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_MKDIRAT, unix.SYS_MKDIR,
		unix.SYS_RENAMEAT2, unix.SYS_RENAMEAT, unix.SYS_RENAME, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_MKNODAT, unix.SYS_COPY_FILE_RANGE, unix.SYS_SENDFILE,
		unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE, unix.SYS_UNLINKAT)
	set([]unix.Errno{unix.EIO, unix.ENOMEM},
		unix.SYS_READ, unix.SYS_PREAD64, unix.SYS_READV, unix.SYS_GETDENTS64, unix.SYS_READLINKAT, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_LSTAT, unix.SYS_STAT, unix.SYS_LSEEK, unix.SYS_STATFS, unix.SYS_FSTATFS)
	set([]unix.Errno{unix.EPERM, unix.EIO}, sysPtrace)
	set([]unix.Errno{unix.EPERM},
		unix.SYS_KCMP, unix.SYS_PRLIMIT64, unix.SYS_SCHED_GETATTR, unix.SYS_SCHED_GETAFFINITY, unix.SYS_SCHED_SETATTR, unix.SYS_SCHED_SETAFFINITY,
		unix.SYS_GET_ROBUST_LIST, unix.SYS_SET_ROBUST_LIST, unix.SYS_IOPRIO_GET, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_KILL, unix.SYS_TGKILL,
		unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_CHROOT, unix.SYS_FCHOWNAT, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_SETPRIORITY,
		unix.SYS_FLOCK, unix.SYS_UTIMENSAT, unix.SYS_SETXATTR, unix.SYS_FSETXATTR, unix.SYS_GETPGID)
	set([]unix.Errno{unix.ENOMEM}, unix.SYS_MMAP, unix.SYS_MREMAP)
	set([]unix.Errno{unix.ENOMEM, unix.EPERM},
		sysIoctl, sysFcntl, sysSetsockopt, sysGetsockopt, sysPrctl, unix.SYS_BIND, unix.SYS_CONNECT, unix.SYS_LISTEN, unix.SYS_ACCEPT4, unix.SYS_SENDMSG, unix.SYS_RECVMSG,
		unix.SYS_SENDTO, unix.SYS_RECVFROM, unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_SHUTDOWN, unix.SYS_CLONE3, unix.SYS_CLONE, unix.SYS_EPOLL_CTL, unix.SYS_SEMGET, unix.SYS_SEMCTL,
		unix.SYS_SHMGET, unix.SYS_SHMCTL, unix.SYS_MSGGET, unix.SYS_MSGCTL)
	return m
}()

// Errors are the strikes with a failing call that the step can take, one each.
func (s *Step) Errors() []Strike {
	if !s.Own {
		return nil
	}
	var all []Strike
	for _, e := range errnos[s.Call] {
		all = append(all, Strike{Key: s.Key, Nth: 1, Errno: e})
	}
	return all
}

// Shorts is the strike with a short write, none for other calls.
func (s *Step) Shorts() []Strike {
	if s.Own && (s.Call == unix.SYS_WRITE || s.Call == unix.SYS_PWRITE64) {
		return []Strike{{Key: s.Key, Nth: 1, Short: true}}
	}
	return nil
}

// each is up to how many operations on tasks are told apart that are made from one place.
const each = 64

// Kills are deaths at the step: after its first time and, if the program itself comes there often,
// after one in the middle and the last one; after each if it is an operation on a task (ptrace(2)).
func (s *Step) Kills() []Strike {
	at := []int{1}
	switch {
	case s.Own && s.Call == sysPtrace:
		for n := 2; n <= min(s.Count, each); n++ {
			at = append(at, n)
		}
	case s.Own && s.Count > 2:
		at = append(at, s.Count/2+1, s.Count)
	case s.Own && s.Count > 1:
		at = append(at, s.Count)
	}
	var all []Strike
	for _, n := range at {
		all = append(all, Strike{Key: s.Key, Nth: n, Kill: true})
	}
	return all
}
