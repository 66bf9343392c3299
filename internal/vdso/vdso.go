// Package vdso leads programs from the vdso of one kernel into that of another.
//
// The vdso (vdso(7)) is an ELF image that the kernel maps into every program; clock_gettime(2) and its like are functions
// in it, which read the kernel's clocks in pages beside it ("vvar"), at distances that are built into the code. A program
// keeps the addresses of these functions for life. Another kernel has another image with its functions elsewhere, other
// pages beside it, in another layout. So after a kernel update:
//
//  1. the new kernel's vdso and vvar stay together, at a place of their own;
//  2. where the old ones were there is the code of the old vdso, as ordinary memory, and beside it pages of zeros in
//     the place of vvar;
//  3. at the beginning of each old function stands a jump to the new one of the same name ([Bridge]).
//
// What has no successor, and whoever was stopped in the middle of a function, goes on in the old code. In pages of zeros
// it finds a clock without a mode (VDSO_CLOCKMODE_NONE is 0 in include/vdso/datapage.h) and a random generator that is not ready, and makes
// the system call instead. CRIU calls the like a proxy.
package vdso

import (
	"os"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// Name is what /proc/PID/maps calls the area.
const Name = "[vdso]"

// Own is the vdso of this program, as long as its area, a multiple of the size of a page. All programs of
// a kernel that have the same word size have the same.
func Own() ([]byte, error) {
	areas, err := procfs.ReadMaps(unix.Getpid())
	if err != nil {
		return nil, err
	}
	for _, v := range areas {
		if v.Path != Name {
			continue
		}
		mem, err := os.Open("/proc/self/mem")
		if err != nil {
			return nil, err
		}
		defer mem.Close()
		image := make([]byte, v.Size())
		_, err = mem.ReadAt(image, int64(v.Start))
		return image, err
	}
	return nil, nil
}
