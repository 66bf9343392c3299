package kernel

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scratch maps n private pages and touches the first touched of them.
func scratch(n, touched int) ([]byte, error) {
	size := os.Getpagesize()
	m, err := unix.Mmap(-1, 0, n*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, wrap("mmap", err)
	}
	for i := range touched {
		m[i*size] = 1
	}
	return m, nil
}

// address returns where a mapping begins.
func address(m []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&m[0]))) }

// tryPagemapScan scans two pages of which one is populated (struct pm_scan_arg and
// PAGEMAP_SCAN, _IOWR('f', 16), of include/uapi/linux/fs.h).
func tryPagemapScan() error {
	m, err := scratch(2, 1)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	const present = 1 << 3 // PAGE_IS_PRESENT
	var region struct{ start, end, categories uint64 }
	arg := struct {
		size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
		inverted, categoryMask, categoryAnyMask, returnMask     uint64
	}{
		start: address(m), end: address(m) + uint64(len(m)),
		vec: uint64(uintptr(unsafe.Pointer(&region))), vecLen: 1,
		categoryMask: present, returnMask: present,
	}
	arg.size = uint64(unsafe.Sizeof(arg))
	request := uintptr(3<<30 | unsafe.Sizeof(arg)<<16 | 'f'<<8 | 16)
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return missing(fmt.Errorf("PAGEMAP_SCAN: %w", errno), unix.ENOTTY, unix.EINVAL)
	}
	if n != 1 || region.start != address(m) {
		return absent("PAGEMAP_SCAN does not find a page that is there")
	}
	return nil
}

// tryProcmapQuery asks for the mapping of a page (struct procmap_query and
// PROCMAP_QUERY, _IOWR('f', 17), of include/uapi/linux/fs.h).
func tryProcmapQuery() error {
	m, err := scratch(1, 0)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	arg := struct {
		size, queryFlags, queryAddress             uint64
		start, end, flags, pageSize, offset, inode uint64
		devMajor, devMinor, nameSize, buildIDSize  uint32
		name, buildID                              uint64
	}{queryAddress: address(m)}
	arg.size = uint64(unsafe.Sizeof(arg))
	request := uintptr(3<<30 | unsafe.Sizeof(arg)<<16 | 'f'<<8 | 17)
	err = ioctl(int(f.Fd()), request, unsafe.Pointer(&arg))
	return missing(wrap("PROCMAP_QUERY", err), unix.ENOTTY)
}

// trySoftDirty touches a page and looks at bit 55 of its pagemap entry, which is
// never set on a kernel without CONFIG_MEM_SOFT_DIRTY.
func trySoftDirty() error {
	m, err := scratch(1, 1)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return err
	}
	defer f.Close()
	var entry [8]byte
	if _, err := f.ReadAt(entry[:], int64(address(m))/int64(os.Getpagesize())*8); err != nil {
		return wrap("reading pagemap", err)
	}
	if entry[6]&0x80 == 0 {
		return absent("a page that was written is not marked")
	}
	return nil
}

// tryMapFiles opens a mapping of ours through /proc/self/map_files.
func tryMapFiles() error {
	m, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return wrap("mmap", err)
	}
	defer unix.Munmap(m)
	path := fmt.Sprintf("/proc/self/map_files/%x-%x", address(m), address(m)+uint64(len(m)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return missing(err, os.ErrNotExist)
	}
	return f.Close()
}

// tryGuardInstall makes a page a guard (MADV_GUARD_INSTALL is 102).
func tryGuardInstall() error {
	m, err := scratch(1, 0)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	return missing(wrap("madvise(MADV_GUARD_INSTALL)", unix.Madvise(m, 102)), unix.EINVAL)
}

// tryAnonName names a page and looks for the name in maps.
func tryAnonName() error {
	m, err := scratch(1, 0)
	if err != nil {
		return err
	}
	defer unix.Munmap(m)
	name := []byte("rethaw-probe\x00")
	err = unix.Prctl(unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME, uintptr(address(m)), uintptr(len(m)),
		uintptr(unsafe.Pointer(&name[0])))
	if err != nil {
		return missing(wrap("prctl(PR_SET_VMA)", err), unix.EINVAL)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return err
	}
	if !bytes.Contains(maps, []byte("[anon:rethaw-probe]")) {
		return absent("maps does not show the name")
	}
	return nil
}

// trySetMMMap asks for the size of struct prctl_mm_map.
func trySetMMMap() error {
	var size uint32
	err := unix.Prctl(unix.PR_SET_MM, unix.PR_SET_MM_MAP_SIZE, uintptr(unsafe.Pointer(&size)), 0, 0)
	return missing(wrap("prctl(PR_SET_MM)", err), unix.EINVAL)
}

// tryMseal seals nothing: a length of 0 is allowed.
func tryMseal() error {
	_, _, errno := unix.Syscall(unix.SYS_MSEAL, 0, 0, 0)
	if errno != 0 {
		return missing(fmt.Errorf("mseal: %w", errno))
	}
	return nil
}

// tryMemfdSecret makes a secret memory file.
func tryMemfdSecret() error {
	fd, _, errno := unix.Syscall(unix.SYS_MEMFD_SECRET, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return missing(fmt.Errorf("memfd_secret: %w", errno))
	}
	return unix.Close(int(fd))
}
