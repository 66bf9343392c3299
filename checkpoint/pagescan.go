package checkpoint

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// pmScanArg is struct pm_scan_arg of PAGEMAP_SCAN
// (Documentation/admin-guide/mm/pagemap.rst), since Linux 6.7.
type pmScanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages   uint64
	categoryInverted, categoryMask, categoryAnyof, returnMask uint64
}

// pageRegion is struct page_region.
type pageRegion struct{ start, end, categories uint64 }

const (
	pagemapScan = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
	pageIsPFNZero = 1 << 5
	pageIsGuard   = 1 << 8 // since Linux 6.15
)

// scanner finds the pages of a process that have contents of their own.
type scanner struct {
	pagemap *os.File
	vec     []pageRegion
	// noGuards is set when the kernel cannot tell guard pages from others.
	noGuards bool
}

func newScanner(p *process) (*scanner, error) {
	f, err := os.Open(p.path("pagemap"))
	if err != nil {
		return nil, err
	}
	return &scanner{pagemap: f, vec: make([]pageRegion, 512)}, nil
}

func (s *scanner) close() { s.pagemap.Close() }

// pageRun takes a run of pages; guard tells that they are guard pages
// (MADV_GUARD_INSTALL), which have no contents and fault when touched.
type pageRun func(start, end uint64, guard bool)

// ranges reports, in order, the runs of pages between start and end that are
// present, swapped out or guards, and not those of the zero page nor, for a file
// mapping, of the file.
func (s *scanner) ranges(start, end uint64, file bool, found pageRun) error {
	inverted, mask := uint64(pageIsPFNZero), uint64(pageIsPFNZero)
	if file {
		inverted, mask = inverted|pageIsFile, mask|pageIsFile
	}
	guard := uint64(pageIsGuard)
	for at := start; at < end; {
		if s.noGuards {
			guard = 0
		}
		arg := pmScanArg{
			start: at, end: end, vec: uint64(uintptr(unsafe.Pointer(&s.vec[0]))), vecLen: uint64(len(s.vec)),
			categoryInverted: inverted, categoryMask: mask, categoryAnyof: pageIsPresent | pageIsSwapped | guard,
			returnMask: guard,
		}
		arg.size = uint64(unsafe.Sizeof(arg))
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, s.pagemap.Fd(), pagemapScan, uintptr(unsafe.Pointer(&arg)))
		if errno == unix.EINVAL && !s.noGuards {
			s.noGuards = true
			continue
		}
		if errno == unix.ENOTTY || errno == unix.EINVAL {
			return s.walk(at, end, file, found)
		}
		if errno != 0 {
			return errno
		}
		// When the vector fills just as the matches run out, walk_end points
		// back and regions come again: go by what was reported.
		reached := at
		for _, r := range s.vec[:n] {
			if r.end <= reached {
				continue
			}
			found(max(r.start, reached), r.end, r.categories&pageIsGuard != 0)
			reached = r.end
		}
		if arg.walkEnd <= at && reached <= at {
			return nil
		}
		at = max(reached, arg.walkEnd)
		if n < uintptr(len(s.vec)) {
			at = max(at, arg.walkEnd)
			if arg.walkEnd >= end {
				return nil
			}
		}
	}
	return nil
}

// walk does the same by reading /proc/PID/pagemap, for kernels before 6.7. It
// cannot tell the zero page, which is found when it is read.
func (s *scanner) walk(start, end uint64, file bool, found pageRun) error {
	entries := make([]uint64, 8192)
	for at := start; at < end; {
		n, err := s.entries(at, min(end, at+uint64(len(entries))*pageSize), entries)
		if err != nil {
			return err
		}
		run, runGuard := uint64(0), false
		for i := 0; i <= n; i++ {
			has, guard := false, false
			if i < n {
				e := procfs.ParsePagemapEntry(entries[i])
				guard = e.Guard
				has = guard || (e.Present || e.Swap) && !(file && e.FileShared)
			}
			addr := at + uint64(i)*pageSize
			if run != 0 && (!has || guard != runGuard) {
				found(run, addr, runGuard)
				run = 0
			}
			if has && run == 0 {
				run, runGuard = addr, guard
			}
		}
		at += uint64(n) * pageSize
	}
	return nil
}

// entries reads the pagemap entries of the pages between start and end.
func (s *scanner) entries(start, end uint64, to []uint64) (int, error) {
	n := int(end-start) / pageSize
	b := unsafe.Slice((*byte)(unsafe.Pointer(&to[0])), n*8)
	got, err := s.pagemap.ReadAt(b, int64(start/pageSize*8))
	if err != nil && !(errors.Is(err, io.EOF) && got > 0) {
		return 0, err
	}
	for i := range got / 8 {
		to[i] = binary.NativeEndian.Uint64(b[i*8:])
	}
	return got / 8, nil
}
