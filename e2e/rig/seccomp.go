package rig

import (
	_ "embed"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// seccompAllowed lists the system calls that container engines let pass by
// default: all but those that reach the whole machine.
//
//go:embed seccomp.txt
var seccompAllowed string

// seccompProfile is a filter of the shape and size that engines install by
// default: an allow list, personality and clone by argument, the rest EPERM.
// clone3 answers ENOSYS, since a filter cannot see its flags and the C library
// then falls back to clone.
func seccompProfile() *specs.LinuxSeccomp {
	var personalities []specs.LinuxSyscall
	for _, persona := range []uint64{0, 8, 0x20000, 0x20008, 0xffffffff} {
		personalities = append(personalities, specs.LinuxSyscall{
			Names: []string{"personality"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: 0, Value: persona, Op: specs.OpEqualTo}},
		})
	}
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	eperm, enosys := uint(unix.EPERM), uint(unix.ENOSYS)
	return &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &eperm,
		Architectures:   []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32},
		Syscalls: append(personalities,
			specs.LinuxSyscall{Names: strings.Fields(seccompAllowed), Action: specs.ActAllow},
			specs.LinuxSyscall{
				Names: []string{"clone"}, Action: specs.ActAllow,
				Args: []specs.LinuxSeccompArg{{Index: 0, Value: namespaces, Op: specs.OpMaskedEqual}},
			},
			specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &enosys},
		),
	}
}
