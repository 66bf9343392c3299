package checkpoint

import (
	"bytes"
	"os"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// checkTraits refuses what /proc tells of a process and a restore would not bring
// back.
func (d *dump) checkTraits(p *process) []error {
	var problems []error
	for _, t := range traits {
		if has, err := t.has(d, p); err == nil && has {
			problems = append(problems, p.unsupported(t.object, t.reason, t.remedy))
		}
	}
	if err := d.checkExe(p); err != nil {
		problems = append(problems, err)
	}
	return append(problems, d.checkDirs(p)...)
}

// Flags of a task that PR_SET_IO_FLUSHER sets, both of them (include/linux/sched.h).
const (
	pfMemallocNoIO  = 0x00080000
	pfLocalThrottle = 0x00100000
)

// traits is the table of them. An error of has is that of a process that has ended.
var traits = []struct {
	object, reason, remedy string
	has                    func(d *dump, p *process) (bool, error)
}{
	{"program", "is one of 32 bits", "use the one of 64 bits", func(_ *dump, p *process) (bool, error) { return narrow(p) }},
	{"cgroup", "is another one than that of the container's first process", "move the process back before the checkpoint", (*dump).strayedCgroup},
	{"shadow stack", "is in use (x86 shstk)", "start the program without it (GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK)",
		func(_ *dump, p *process) (bool, error) { return len(p.status.ThreadFeatures) > 0, nil }},
	{"address tagging", "is in use (LAM)", "start the program without it",
		func(_ *dump, p *process) (bool, error) {
			return p.status.UntagMask != 0 && p.status.UntagMask != ^uint64(0), nil
		}},
	{"core scheduling", "has given the task a cookie (PR_SCHED_CORE)", "start the program without it",
		func(_ *dump, p *process) (bool, error) { return coreCookie(p.pid) != 0, nil }},
	{"task", "is an I/O flusher (PR_SET_IO_FLUSHER)", "clear it before the checkpoint",
		func(_ *dump, p *process) (bool, error) {
			const both = pfMemallocNoIO | pfLocalThrottle
			return p.stat.Flags&both == both, nil
		}},
}

// narrow tells whether a process executes a program of another class than ours
// (e_ident[EI_CLASS] of elf(5)).
func narrow(p *process) (bool, error) {
	f, err := os.Open(p.path("exe"))
	if err != nil {
		return false, err
	}
	defer f.Close()
	var ident [5]byte
	if _, err := f.ReadAt(ident[:], 0); err != nil {
		return false, err
	}
	const class32 = 1
	return string(ident[:4]) == "\x7fELF" && ident[4] == class32, nil
}

// strayedCgroup tells whether a process is in another cgroup than the container's
// first one: a restore puts all into that.
func (d *dump) strayedCgroup(p *process) (bool, error) {
	if d.target.Host || p.pid == d.target.Init {
		return false, nil
	}
	if d.cgroup == nil {
		first, err := procfs.ReadFile(d.target.Init, "cgroup")
		if err != nil {
			return false, err
		}
		d.cgroup = first
	}
	own, err := procfs.ReadFile(p.at, "cgroup")
	return !bytes.Equal(own, d.cgroup), err
}

// coreCookie is that of PR_SCHED_CORE_GET (prctl(2)), 0 on kernels and processors
// without it.
func coreCookie(pid int) uint64 {
	const schedCore, get, scopeProcess = 62, 0, 0
	var cookie uint64
	_, _, errno := unix.Syscall6(unix.SYS_PRCTL, schedCore, get, uintptr(pid), scopeProcess, uintptr(unsafe.Pointer(&cookie)), 0)
	if errno != 0 {
		return 0
	}
	return cookie
}
