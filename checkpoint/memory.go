package checkpoint

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// saveMemory writes every address space once: its areas, then its pages, the
// pages of all spaces in parallel.
func (d *dump) saveMemory(ctx context.Context) error {
	var owners []*process
	for _, sharers := range d.sharers() {
		owner := sharers[0]
		m, err := d.space(owner)
		if err != nil {
			return err
		}
		id := d.newID()
		d.spaces[id] = m
		owners = append(owners, owner)
		for _, p := range sharers {
			p.memory = id
			if err := d.saveExe(p); err != nil {
				return err
			}
		}
	}
	found := make([]foundPages, len(owners))
	err := sideBySide(len(owners), func(i int) (err error) {
		p := owners[i]
		if found[i], err = d.findPages(p, d.spaces[p.memory]); err != nil {
			return &Error{"scan memory", p.nspid, err}
		}
		return nil
	})
	if err != nil {
		return err
	}
	byOwner := map[*process][]pageJob{}
	for i, p := range owners {
		byOwner[p] = found[i].jobs
		d.stats.PagesScanned += found[i].scanned
		d.stats.PagesShared += found[i].shared
	}
	var jobs []pageJob
	for _, p := range d.forkOrder() {
		jobs = append(jobs, byOwner[p]...)
	}
	if err := d.writePages(ctx, jobs); err != nil {
		return err
	}
	for _, p := range owners {
		m := d.spaces[p.memory]
		slices.SortFunc(m.Pages, byStart)
		if err := d.out.Put(p.memory, m); err != nil {
			return err
		}
	}
	return nil
}

// space makes the record of an address space, without its pages.
func (d *dump) space(p *process) (*specs.Memory, error) {
	s := &p.stat
	auxv, err := procfs.ReadFile(p.at, "auxv")
	if err != nil {
		return nil, err
	}
	m := &specs.Memory{
		StartCode: s.StartCode, EndCode: s.EndCode, StartData: s.StartData, EndData: s.EndData,
		StartBrk: s.StartBrk, Brk: p.brk, StartStack: s.StartStack,
		ArgStart: s.ArgStart, ArgEnd: s.ArgEnd, EnvStart: s.EnvStart, EnvEnd: s.EnvEnd, Auxv: auxv,
		LockFuture: p.lockFuture, LockOnFault: p.lockOnFault,
	}
	for i := range p.areas {
		a, err := d.area(p, &p.areas[i])
		if err != nil {
			return nil, err
		}
		m.Areas = append(m.Areas, a)
	}
	return m, nil
}

// saveExe makes the record of the program file.
func (d *dump) saveExe(p *process) error {
	link, err := procfs.Readlink(p.at, "exe")
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Stat(p.path("exe"), &stat); err != nil {
		return &Error{"stat program", p.nspid, err}
	}
	if memfdLink(link) && onShmem(&stat) {
		o, err := d.sharedObject("memfd", p.path("exe"), link, &stat)
		if err != nil {
			return &Error{"save program", p.nspid, err}
		}
		p.record.Exe = o.id
		return nil
	}
	p.record.Exe, err = d.inode(p.path("exe"), link, &stat, false)
	if err != nil {
		return &Error{"save program", p.nspid, err}
	}
	return nil
}

// special are the areas that the kernel makes by itself, by their names.
var special = map[string]string{
	"[vdso]": "vdso", "[vvar]": "vvar", "[vvar_vclock]": "vvar", "[vsyscall]": "vsyscall",
	"[stack]": "stack", "[heap]": "heap",
}

// defaultFlags are the VmFlags that say nothing beyond protection and kind
// (Documentation/filesystems/proc.rst): what mmap gives by itself.
var defaultFlags = map[string]bool{
	"rd": true, "wr": true, "ex": true, "sh": true, "mr": true, "mw": true, "me": true, "ms": true,
	"sd": true, "nr": true, "de": true, "pf": true, "io": true, "mm": true, "mt": true,
}

// savedFlags are the VmFlags that a restore brings back, or that others refuse by a better name.
var savedFlags = map[string]bool{
	"gd": true, "lo": true, "lf": true, "sr": true, "rr": true, "dc": true, "ac": true, "nr": true, "ht": true, "sf": true, "wf": true, "dd": true,
	"hg": true, "nh": true, "mg": true, "dp": true, "sl": true, "ss": true, "um": true, "uw": true, "ui": true, "bt": true, "ar": true, "gu": true,
}

// area makes the record of one area.
func (d *dump) area(p *process, v *procfs.VMA) (specs.Area, error) {
	a := specs.Area{
		Start: v.Start, End: v.End, Prot: prot(v.Perms), Shared: v.Shared, Kind: "anon",
		Name: v.AnonName, PKey: int32(v.ProtectionKey), Policy: p.policies[v.Start],
	}
	for _, f := range v.VmFlags {
		if !defaultFlags[f] && !savedFlags[f] {
			return a, p.unsupported(areaName(v), "has the flag "+f+" (VmFlags in smaps), which is not known", "")
		}
		// "ac" tells that a private area was writable once.
		if !defaultFlags[f] || f == "nr" {
			a.Flags = append(a.Flags, f)
		}
	}
	if kind, ok := special[v.Path]; ok {
		a.Kind = kind
		if kind == "vdso" || kind == "vvar" {
			a.Name = v.Path
		}
		return a, nil
	}
	if noFile(v) && (v.Path == "" || strings.HasPrefix(v.Path, "[anon:")) {
		return a, nil
	}
	if noFile(v) {
		return a, p.unsupported(areaName(v), "is a special mapping that is not known", "")
	}
	a.Offset, a.Flock = v.Offset, d.hiddenLock(p, v)
	return a, d.backing(p, v, &a)
}

// noFile tells whether an area maps no file. The inode of a System V segment has
// the segment's number, which may be 0.
func noFile(v *procfs.VMA) bool { return v.Inode == 0 && sharedKind(v) != "sysv" }

func areaName(v *procfs.VMA) string {
	return fmt.Sprintf("mapping %x-%x (%s)", v.Start, v.End, v.Path)
}

func prot(p procfs.Perms) uint32 {
	var bits uint32
	for bit, on := range map[uint32]bool{unix.PROT_READ: p.Read, unix.PROT_WRITE: p.Write, unix.PROT_EXEC: p.Exec} {
		if on {
			bits |= bit
		}
	}
	return bits
}

// backing finds what an area maps: a regular file, a deleted one, shared memory.
func (d *dump) backing(p *process, v *procfs.VMA, a *specs.Area) error {
	magic := p.path("map_files/%x-%x", v.Start, v.End)
	var stat unix.Stat_t
	if err := unix.Stat(magic, &stat); err != nil {
		return &Error{"stat " + areaName(v), p.nspid, err}
	}
	if stat.Mode&unix.S_IFMT == unix.S_IFCHR {
		return d.mappedDevice(p, v, a, magic, &stat)
	}
	if err := notRegular(p, v, &stat); err != nil {
		return err
	}
	if v.Path == hugeAnonymous && v.Deleted && !v.Shared {
		a.Offset, a.HugePage = 0, uint32(bits.Len64(v.KernelPageSize)-1)
		return nil
	}
	if kind := sharedKind(v); kind != "" {
		a.Kind = "shm"
		return d.sharedArea(p, v, a, kind, magic, &stat)
	}
	a.Kind = "file"
	link, err := procfs.Readlink(p.at, fmt.Sprintf("map_files/%x-%x", v.Start, v.End))
	if err != nil {
		return err
	}
	// A shared mapping that may be written needs the file open for writing.
	write := v.Shared && v.Has("mw") && v.Has("wr") || v.Shared && v.Has("sh")
	a.File, err = d.inode(magic, link, &stat, write)
	if err != nil {
		return &Error{"save " + areaName(v), p.nspid, err}
	}
	return nil
}

// mappedDevice knows /dev/zero mapped privately, which is anonymous memory with
// a name.
func (d *dump) mappedDevice(p *process, v *procfs.VMA, a *specs.Area, magic string, stat *unix.Stat_t) error {
	if err := notZero(p, v, stat); err != nil {
		return err
	}
	a.Kind = "file"
	var err error
	a.File, err = d.zeroDevice(v.Path, stat)
	return err
}

// zeroDevice gives the record of /dev/zero for private mappings of it.
func (d *dump) zeroDevice(path string, stat *unix.Stat_t) (specs.ID, error) {
	key := inodeKey{dev: stat.Dev, ino: stat.Ino}
	if id := d.files.inodes[key]; id != 0 {
		return id, nil
	}
	id := d.newID()
	d.files.inodes[key] = id
	return id, d.out.Put(id, &specs.Device{Path: path, Major: 1, Minor: 5})
}
