//go:build amd64

package fault

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	sysPtrace     = unix.SYS_PTRACE
	sysFutex      = unix.SYS_FUTEX
	sysIoctl      = unix.SYS_IOCTL
	sysFcntl      = unix.SYS_FCNTL
	sysPrctl      = unix.SYS_PRCTL
	sysSetsockopt = unix.SYS_SETSOCKOPT
	sysGetsockopt = unix.SYS_GETSOCKOPT
	sysBPF        = unix.SYS_BPF
)

// names are those of the calls that a report is likely to show.
var names = map[uint64]string{
	sysPtrace: "ptrace", sysFutex: "futex", sysIoctl: "ioctl", sysFcntl: "fcntl", sysPrctl: "prctl", sysSetsockopt: "setsockopt", sysGetsockopt: "getsockopt", sysBPF: "bpf",
	unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_CLOSE: "close", unix.SYS_READ: "read", unix.SYS_PREAD64: "pread64", unix.SYS_WRITE: "write",
	unix.SYS_PWRITE64: "pwrite64", unix.SYS_GETDENTS64: "getdents64", unix.SYS_READLINKAT: "readlinkat", unix.SYS_NEWFSTATAT: "newfstatat", unix.SYS_FSTAT: "fstat",
	unix.SYS_STATX: "statx", unix.SYS_LSEEK: "lseek", unix.SYS_MMAP: "mmap", unix.SYS_MUNMAP: "munmap", unix.SYS_WAITID: "waitid", unix.SYS_WAIT4: "wait4",
	unix.SYS_SCHED_YIELD: "sched_yield", unix.SYS_NANOSLEEP: "nanosleep", unix.SYS_FSYNC: "fsync", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate",
	unix.SYS_RENAMEAT2: "renameat2", unix.SYS_RENAMEAT: "renameat", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_PIDFD_OPEN: "pidfd_open",
	unix.SYS_PIDFD_GETFD: "pidfd_getfd", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_KCMP: "kcmp", unix.SYS_PROCESS_VM_READV: "process_vm_readv",
	unix.SYS_PRLIMIT64: "prlimit64", unix.SYS_SCHED_GETATTR: "sched_getattr", unix.SYS_SCHED_GETAFFINITY: "sched_getaffinity", unix.SYS_SCHED_SETAFFINITY: "sched_setaffinity",
	unix.SYS_GET_ROBUST_LIST: "get_robust_list", unix.SYS_SET_ROBUST_LIST: "set_robust_list", unix.SYS_IOPRIO_GET: "ioprio_get", unix.SYS_SOCKET: "socket",
	unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg", unix.SYS_SENDTO: "sendto", unix.SYS_RECVFROM: "recvfrom", unix.SYS_FLOCK: "flock", unix.SYS_CLONE: "clone",
	unix.SYS_CLONE3: "clone3", unix.SYS_SETNS: "setns", unix.SYS_UNSHARE: "unshare", unix.SYS_MADVISE: "madvise", unix.SYS_EPOLL_CTL: "epoll_ctl", unix.SYS_EPOLL_PWAIT: "epoll_pwait",
	unix.SYS_KILL: "kill", unix.SYS_TGKILL: "tgkill", unix.SYS_EXIT: "exit", unix.SYS_EXIT_GROUP: "exit_group", unix.SYS_SYNC_FILE_RANGE: "sync_file_range",
	unix.SYS_GETSOCKNAME: "getsockname", unix.SYS_GETPEERNAME: "getpeername", unix.SYS_BIND: "bind", unix.SYS_CONNECT: "connect", unix.SYS_LISTEN: "listen",
	unix.SYS_ACCEPT4: "accept4", unix.SYS_PIPE2: "pipe2", unix.SYS_DUP3: "dup3", unix.SYS_DUP: "dup", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_STATFS: "statfs", unix.SYS_MOUNT: "mount",
	unix.SYS_CHROOT: "chroot", unix.SYS_EVENTFD2: "eventfd2", unix.SYS_MEMFD_CREATE: "memfd_create", unix.SYS_TIMERFD_CREATE: "timerfd_create", unix.SYS_TIMERFD_SETTIME: "timerfd_settime",
}

// callName names a system call, with the number of its operation.
func callName(call, op uint64) string {
	name := names[call]
	if name == "" {
		name = fmt.Sprintf("system call %d", call)
	}
	if _, many := operations[call]; many {
		return fmt.Sprintf("%s(%#x)", name, op)
	}
	return name
}
