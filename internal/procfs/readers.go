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

// ReadLimits reads /proc/PID/limits.
func ReadLimits(pid int) ([NumLimits][2]uint64, error) { return read(pid, "limits", ParseLimits) }

// ReadTimers reads /proc/PID/timers.
func ReadTimers(pid int) ([]Timer, error) { return read(pid, "timers", ParseTimers) }

// ReadSyscall reads /proc/PID/task/TID/syscall.
func ReadSyscall(pid, tid int) (Syscall, error) {
	return read(pid, task(tid, "syscall"), ParseSyscall)
}
