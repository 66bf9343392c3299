package restore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// places are addresses and numbers that nothing of the image uses.
type places struct {
	// arena and park are where the arena and the kernel's own areas go, staging
	// where pages are read to before they are moved to their place.
	arena, park, staging uint64
	// house is where the kernel's own areas stay if others stood where the image has them.
	house    uint64
	lastFree int32
}

// parkSize is room for vvar and vdso.
const parkSize = 1 << 20

// apart is where free addresses are looked for: programs and allocators lie
// below, the kernel's mappings above.
const apart = 1 << 44

// layout is what is mapped in a task: ranges by the names of maps.
type layout struct {
	areas []procfs.VMA
}

// arrange chooses places.
func (r *restorer) arrange() error {
	var ranges []inject.Range
	for _, t := range r.tasks {
		if t.mm == nil {
			continue
		}
		for _, a := range t.mm.Areas {
			ranges = append(ranges, inject.Range{Start: a.Start, End: a.End})
		}
	}
	now, err := procfs.ReadMaps(r.root.pid)
	if err != nil {
		return err
	}
	for _, v := range now {
		ranges = append(ranges, inject.Range{Start: v.Start, End: v.End})
	}
	slices.SortFunc(ranges, func(a, b inject.Range) int {
		if a.Start < b.Start {
			return -1
		}
		return 1
	})
	if r.place.arena, err = inject.FreeAbove(ranges, apart, inject.ArenaSize+2*parkSize+stagingSize+blockSize); err != nil {
		return err
	}
	r.place.park = r.place.arena + inject.ArenaSize
	r.place.house = r.place.park + parkSize
	r.place.staging = roundUp(r.place.house+parkSize, blockSize)
	// Numbers near the end of the range: containers start from 1.
	r.place.lastFree = pidMax() - 2000
	return nil
}

// pidMax is /proc/sys/kernel/pid_max.
func pidMax() int32 {
	b, err := os.ReadFile("/proc/sys/kernel/pid_max")
	n := int32(32768)
	if err == nil {
		fmt.Sscan(string(b), &n)
	}
	return n
}

// fits compares the facts of the header with this machine.
func (r *restorer) fits() error {
	h := r.img.Header()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	if machine := unix.ByteSliceToString(uts.Machine[:]); h.Machine != machine {
		return fmt.Errorf("%w: it was made on %s, this is %s", ErrUnfit, h.Machine, machine)
	}
	if int(h.PageSize) != os.Getpagesize() {
		return fmt.Errorf("%w: its pages have %d bytes, here they have %d", ErrUnfit, h.PageSize, os.Getpagesize())
	}
	return r.fitsCPU(h)
}

// fitsCPU refuses a processor that lacks what the image's had: the program has
// chosen its code by it.
func (r *restorer) fitsCPU(h *specs.Header) error {
	have := map[string]bool{}
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		if k := strings.TrimSpace(key); k == "flags" || k == "Features" {
			for _, f := range strings.Fields(value) {
				have[f] = true
			}
			break
		}
	}
	var missing []string
	for _, f := range h.CPU {
		if !have[f] && programsUse(f) {
			missing = append(missing, f)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: this processor lacks %s; restore on one that has it", ErrUnfit, strings.Join(missing, ", "))
	}
	return nil
}

// programsUse tells whether a flag of /proc/cpuinfo stands for instructions that
// programs may have chosen, and not for what only the kernel uses.
func programsUse(flag string) bool {
	for _, prefix := range []string{"avx", "sse", "ssse", "amx", "bmi", "sha_ni", "sha512", "aes", "vaes", "pclmulqdq",
		"vpclmulqdq", "fma", "f16c", "movbe", "popcnt", "adx", "rdrand", "rdseed", "erms", "fsrm", "clwb", "clflushopt",
		"gfni", "lzcnt", "abm", "rdpid", "xsave", "pku", "movdir", "serialize", "waitpkg", "cmpxchg16b", "cx16"} {
		if strings.HasPrefix(flag, prefix) {
			return true
		}
	}
	return false
}

var errNoVDSO = errors.New("task has no vdso")
