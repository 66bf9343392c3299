package procfs

import "strconv"

// ReadStat reads /proc/PID/stat: its times are those of the whole process.
func ReadStat(pid int) (Stat, error) { return read(pid, "stat", ParseStat) }

// ReadTaskStat reads the stat of one thread.
func ReadTaskStat(pid, tid int) (Stat, error) { return read(pid, task(tid, "stat"), ParseStat) }

// ReadStatus reads /proc/PID/status: that of the thread with this number, which
// for a process is its leader.
func ReadStatus(pid int) (Status, error) { return read(pid, "status", ParseStatus) }

// ReadTaskStatus reads the status of one thread.
func ReadTaskStatus(pid, tid int) (Status, error) {
	return read(pid, task(tid, "status"), ParseStatus)
}

// ReadMaps reads /proc/PID/maps. A task without an address space has no areas.
func ReadMaps(pid int) ([]VMA, error) { return read(pid, "maps", ParseMaps) }

// ReadSmaps reads /proc/PID/smaps. A task without an address space has no areas.
// The kernel walks all page tables for it: it takes far longer than ReadMaps.
func ReadSmaps(pid int) ([]VMA, error) { return read(pid, "smaps", ParseSmaps) }

// ReadFDInfo reads /proc/PID/fdinfo/FD.
func ReadFDInfo(pid, fd int) (FDInfo, error) {
	return read(pid, "fdinfo/"+strconv.Itoa(fd), ParseFDInfo)
}

// ReadTaskFDInfo reads fdinfo of one thread, which may have a descriptor table of
// its own (CLONE_FILES not set, unshare(2)).
func ReadTaskFDInfo(pid, tid, fd int) (FDInfo, error) {
	return read(pid, task(tid, "fdinfo/"+strconv.Itoa(fd)), ParseFDInfo)
}

// ReadNetlink reads /proc/PID/net/netlink: the sockets of the process's network namespace.
func ReadNetlink(pid int) ([]Netlink, error) { return read(pid, "net/netlink", ParseNetlink) }

// ReadLimits reads /proc/PID/limits.
func ReadLimits(pid int) ([NumLimits][2]uint64, error) { return read(pid, "limits", ParseLimits) }

// ReadTimers reads /proc/PID/timers.
func ReadTimers(pid int) ([]Timer, error) { return read(pid, "timers", ParseTimers) }

// ReadSyscall reads /proc/PID/task/TID/syscall.
func ReadSyscall(pid, tid int) (Syscall, error) {
	return read(pid, task(tid, "syscall"), ParseSyscall)
}

// ReadSched reads /proc/PID/task/TID/sched. The file is there only on kernels
// with CONFIG_SCHED_DEBUG or since Linux 6.15.
func ReadSched(pid, tid int) (Sched, error) { return read(pid, task(tid, "sched"), ParseSched) }

// ReadChildren reads /proc/PID/task/TID/children.
func ReadChildren(pid, tid int) ([]int, error) {
	return read(pid, task(tid, "children"), ParseChildren)
}

// ReadAuxv reads /proc/PID/auxv; ReadFile gives its bytes.
func ReadAuxv(pid int) ([]AuxEntry, error) { return read(pid, "auxv", ParseAuxv) }

// ReadNetUnix reads /proc/PID/net/unix: the sockets of the task's network
// namespace.
func ReadNetUnix(pid int) ([]UnixSocket, error) { return read(pid, "net/unix", ParseNetUnix) }

// ReadLocks reads /proc/locks.
func ReadLocks() ([]Lock, error) { return read(0, "locks", ParseLocks) }
