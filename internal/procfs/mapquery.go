package procfs

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// procmapQuery is struct procmap_query (include/uapi/linux/fs.h), since Linux 6.11.
type procmapQuery struct {
	size, flags, addr                          uint64
	start, end, vmaFlags, pageSize, off, inode uint64
	major, minor, nameSize, buildIDSize        uint32
	name, buildID                              uint64
}

// procmapQueryRequest is PROCMAP_QUERY, _IOWR('f', 17, struct procmap_query).
const procmapQueryRequest = 0xc0686611

// AreaAt is the name of the area that covers an address of a process, as maps has it ("[vdso]"), "" for one without a
// name and where nothing is mapped. It takes two microseconds however many areas there are; before Linux 6.11
// all of them are read.
func AreaAt(pid int, addr uint64) (string, error) {
	const file = "maps"
	fd, err := retry(func() (int, error) { return unix.Open(path(pid, file), unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return "", &Error{"open", pid, file, err}
	}
	defer unix.Close(fd)
	name := make([]byte, unix.PathMax)
	q := procmapQuery{addr: addr, nameSize: uint32(len(name)), name: uint64(uintptr(unsafe.Pointer(&name[0])))}
	q.size = uint64(unsafe.Sizeof(q))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), procmapQueryRequest, uintptr(unsafe.Pointer(&q)))
	runtime.KeepAlive(name)
	switch {
	case errno == 0 && q.nameSize > 0:
		return string(name[:q.nameSize-1]), nil // its zero is counted
	case errno == 0 || errno == unix.ENOENT:
		return "", nil
	case errors.Is(errno, unix.ENOTTY):
		return areaAt(pid, addr)
	}
	return "", &Error{"query", pid, file, errno}
}

func areaAt(pid int, addr uint64) (string, error) {
	areas, err := ReadMaps(pid)
	if err != nil {
		return "", err
	}
	for _, v := range areas {
		if v.Start <= addr && addr < v.End {
			return v.Path, nil
		}
	}
	return "", nil
}
