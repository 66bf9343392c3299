package restore

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/internal/ptrace"
	"github.com/rethaw/rethaw/internal/vdso"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// bridge leads from the vdso of the image, which is another kernel's, to that of this one (package vdso).
type bridge struct{ old, now []byte }

// fitsVDSO compares the vdso of the image with ours. Within a boot it is the same.
func (r *restorer) fitsVDSO() error {
	h := r.img.Header()
	if same, err := sameBoot(h); err != nil || same && h.BootID != "" {
		return err
	}
	now, err := vdso.Own()
	if err != nil || bytes.Equal(now, h.VDSO) {
		return err
	}
	used := slices.ContainsFunc(r.tasks, func(t *task) bool {
		return t.mm != nil && slices.ContainsFunc(t.mm.Areas, func(a specs.Area) bool { return a.Kind == "vdso" })
	})
	if !used {
		return nil
	}
	if len(h.VDSO) == 0 {
		var uts unix.Utsname
		if err := unix.Uname(&uts); err != nil {
			return err
		}
		if h.Release == unix.ByteSliceToString(uts.Release[:]) && h.Version == unix.ByteSliceToString(uts.Version[:]) {
			return nil
		}
		return fmt.Errorf("%w: it was made under Linux %s, whose vdso it does not hold; restore under that kernel and make a new image", ErrUnfit, h.Release)
	}
	// What is wrong with it shows before anything is made.
	if _, err := vdso.Bridge(h.VDSO, now, 0); err != nil {
		return fmt.Errorf("%w: it was made under Linux %s: %w; restore under that kernel", ErrUnfit, h.Release, err)
	}
	r.log.WithField("kernel", h.Release).Debug("the image has another vdso: its functions lead into ours")
	r.bridge = &bridge{h.VDSO, now}
	return nil
}

// oldKernel maps what stands where the areas of the other kernel were: pages of zeros for its data, its code for its code.
func (b *builder) oldKernel() error {
	if b.housed == nil {
		return nil
	}
	for _, a := range b.t.mm.Areas {
		if a.Kind != "vdso" && a.Kind != "vvar" {
			continue
		}
		prot := uint64(unix.PROT_READ)
		if a.Kind == "vdso" {
			prot |= unix.PROT_WRITE
		}
		b.add("map the old "+a.Name, unix.SYS_MMAP, a.Start, a.End-a.Start, prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED_NOREPLACE, ^uint64(0), 0)
	}
	if err := b.flush(); err != nil {
		return err
	}
	mem, err := b.t.openMem()
	if err != nil {
		return err
	}
	defer mem.Close()
	for _, a := range b.t.mm.Areas {
		if a.Kind != "vdso" {
			continue
		}
		code := b.r.bridge.old[:min(uint64(len(b.r.bridge.old)), a.End-a.Start)]
		if _, err := mem.WriteAt(code, int64(a.Start)); err != nil {
			return fmt.Errorf("write the old vdso: %w", err)
		}
		b.add("protect the old vdso", unix.SYS_MPROTECT, a.Start, a.End-a.Start, unix.PROT_READ|unix.PROT_EXEC)
	}
	return b.flush()
}

// bridgeSpace puts the jumps into the old vdso of a task, when all threads that share it have their registers.
func (r *restorer) bridgeSpace(t *task) error {
	if r.bridge == nil || t.mm == nil || t.parent != nil && t.parent.rec.Memory == t.rec.Memory && !t.parent.ghost {
		return nil
	}
	now, err := t.layout.find(vdso.Name)
	if err != nil {
		return nil // the program had none
	}
	jumps, err := vdso.Bridge(r.bridge.old, r.bridge.now, now.Start)
	if err != nil {
		return err
	}
	mem, err := t.openMem()
	if err != nil {
		return err
	}
	defer mem.Close()
	for _, a := range t.mm.Areas {
		if a.Kind != "vdso" {
			continue
		}
		for _, o := range r.living() {
			if o.rec.Memory != t.rec.Memory {
				continue
			}
			for _, th := range o.threads {
				if err := leaveJumps(th.traced, a.Start, jumps); err != nil {
					return err
				}
			}
		}
		for _, j := range jumps {
			if _, err := mem.WriteAt(j.Code, int64(a.Start+j.Offset)); err != nil {
				return fmt.Errorf("bridge the old vdso: %w", err)
			}
		}
	}
	return nil
}

// mostSteps is more than there are instructions in the place of a jump.
const mostSteps = 32

// leaveJumps has a thread go on, instruction by instruction, until it stands in no place of a jump. In the old code, of which
// it executes one or two, it finds what it expects.
func leaveJumps(th *ptrace.Thread, base uint64, jumps []vdso.Jump) error {
	for range mostSteps {
		regs, err := th.Registers()
		if err != nil {
			return err
		}
		at := ptrace.PC(&regs)
		if at < base || !slices.ContainsFunc(jumps, func(j vdso.Jump) bool { return j.Inside(at - base) }) {
			return nil
		}
		if err := th.Step(); err != nil {
			return err
		}
	}
	return fmt.Errorf("thread %d does not get out of the beginning of a function of the vdso", th.TID)
}
