package checkpoint

import (
	"fmt"
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/timens"
	"github.com/rethaw/rethaw/internal/userns"
	"github.com/rethaw/rethaw/internal/vdso"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// facts are those of the machine, which are read before the freeze.
type facts struct {
	release, version, machine, boot string
	cpu                             []string
	vdso                            []byte
}

func newFacts() (facts, error) {
	var uts unix.Utsname
	_ = unix.Uname(&uts) // fails for a bad address only
	code, err := vdso.Own()
	if err != nil {
		return facts{}, fmt.Errorf("read the vdso: %w", err)
	}
	return facts{
		release: unix.ByteSliceToString(uts.Release[:]),
		version: unix.ByteSliceToString(uts.Version[:]),
		machine: unix.ByteSliceToString(uts.Machine[:]),
		boot:    bootID(),
		cpu:     cpuFlags(),
		vdso:    code,
	}, nil
}

// moment is one reading of the clocks, in nanoseconds.
type moment struct {
	wall, monotonic, boottime int64
}

// now reads the clocks as close to one another as can be: at a restore after another boot
// the one is reckoned from the other.
func now() moment {
	var wall, mono, boot unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono)
	_ = unix.ClockGettime(unix.CLOCK_REALTIME, &wall)
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot)
	return moment{wall.Nano(), mono.Nano(), boot.Nano()}
}

// header writes the first record: where and when the image is made.
func (d *dump) header() error {
	h := &specs.Header{
		Tool:      d.opts.Tool,
		Release:   d.facts.release,
		Version:   d.facts.version,
		Machine:   d.facts.machine,
		PageSize:  uint32(os.Getpagesize()),
		CPU:       d.facts.cpu,
		Created:   d.stopped.wall,
		Monotonic: d.stopped.monotonic, Boottime: d.stopped.boottime,
		Engine: d.target.Engine, Container: d.target.Container, Host: d.target.Host,
		Rootfs: d.target.Rootfs, Bundle: d.target.Bundle, Terminal: d.target.Terminal,
		BootID: d.facts.boot, Mounts: d.mounts.list, VDSO: d.facts.vdso,
	}
	clocks, err := timens.Seen(d.target.Init)
	if err != nil {
		return err
	}
	h.MonotonicOffset, h.BoottimeOffset = clocks.Monotonic, clocks.Boottime
	if len(d.procs) > 0 {
		h.XStateSize, h.XFeatures = d.xstate()
	}
	components, err := d.components.get()
	if err != nil {
		return err
	}
	for _, c := range components {
		h.XComponents = append(h.XComponents, specs.XComponent(c))
	}
	users, groups, err := userns.Of(d.target.Init)
	if err != nil {
		return err
	}
	h.UIDMap, h.GIDMap = users, groups
	h.Root = d.lastID + 2 // the first task comes right after this record
	id := d.newID()
	return d.out.Put(id, h)
}

// xstate tells the size of the extended state and its XCR0 mask, which the
// kernel puts into the software-reserved bytes of the area
// (arch/x86/include/asm/fpu/types.h).
func (d *dump) xstate() (size uint32, features uint64) {
	const xcr0Off = 464
	for _, p := range d.live() {
		state, err := p.threads[0].traced.XState()
		if err == nil && len(state) > xcr0Off+8 {
			return uint32(len(state)), word(state[xcr0Off:])
		}
	}
	return 0, 0
}

func cpuFlags() []string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		if k := strings.TrimSpace(key); k == "flags" || k == "Features" {
			return strings.Fields(value)
		}
	}
	return nil
}

func bootID() string {
	b, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b))
}
