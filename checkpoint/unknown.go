package checkpoint

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// unknownKinds names files that no handler knows, by the beginning of their link in
// /proc, and tells what can be done about them.
var unknownKinds = []struct{ link, what, remedy string }{
	{"anon_inode:[io_uring]", "an io_uring instance (io_uring(7)), whose requests are known to the kernel alone", "have the program use epoll instead"},
	{"/[aio]", "an AIO context (io_setup(2)), whose requests are known to the kernel alone", "have the program destroy it (io_destroy(2))"},
	{"anon_inode:[userfaultfd]", "a userfaultfd(2)", ""},
	{"anon_inode:[fanotify]", "a fanotify(7) group", ""},
	{"anon_inode:[perf_event]", "an event of perf_event_open(2)", ""},
	{"anon_inode:bpf", "an object of bpf(2)", ""},
	{"anon_inode:seccomp notify", "the listener of a seccomp filter (seccomp_unotify(2))", ""},
	{"anon_inode:[landlock-ruleset]", "a set of rules of landlock(7)", ""},
	{"anon_inode:kvm", "a virtual machine (KVM)", "shut it down before the checkpoint"},
	{"anon_inode:[fscontext]", "a file system under construction (fsopen(2))", ""},
	{"anon_inode:dma", "a buffer of a device (DMA-BUF)", ""},
	{"/dmabuf:", "a buffer of a device (DMA-BUF)", ""},
	{"/dev/fuse", "the daemon's end of a FUSE file system", "unmount it before the checkpoint"},
	{"/dev/net/tun", "a TUN or TAP interface", ""},
	{"/dev/kvm", "a virtual machine (KVM)", "shut it down before the checkpoint"},
}

// families are the socket families that no handler knows (address_families(7)).
var families = map[int]string{
	unix.AF_PACKET: "a packet(7) socket", unix.AF_ALG: "a socket of the kernel's cryptography (AF_ALG)",
	unix.AF_VSOCK: "a vsock(7) socket", unix.AF_XDP: "an AF_XDP socket", unix.AF_CAN: "a CAN bus socket", unix.AF_BLUETOOTH: "a Bluetooth socket",
	unix.AF_TIPC: "a TIPC socket", unix.AF_SMC: "an SMC socket", unix.AF_KEY: "a PF_KEY socket", unix.AF_RDS: "an RDS socket", unix.AF_QIPCRTR: "a Qualcomm IPC router socket",
}

// closeIt is what can be done about most files.
const closeIt = "close it before the checkpoint"

// unknown makes the error about a file that no handler knows.
func (f *openFile) unknown() error {
	for _, k := range unknownKinds {
		if strings.HasPrefix(f.link, k.link) {
			remedy := k.remedy
			if remedy == "" {
				remedy = closeIt
			}
			return f.unsupported("is "+k.what, remedy)
		}
	}
	switch f.stat.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		domain, err := socketFamily(f)
		if err != nil && !errors.Is(err, unix.ENOTSOCK) {
			return &Error{"ask for the family of " + f.name(), f.proc.nspid, err}
		}
		return f.unsupported("is "+familyName(domain), closeIt)
	case unix.S_IFCHR, unix.S_IFBLK:
		dev := f.device()
		return f.unsupported(fmt.Sprintf("is a device (%d:%d) whose state is not known", dev[0], dev[1]), closeIt)
	}
	return f.unsupported("is of a kind that is not known", closeIt)
}

// familyName names the family of a socket.
func familyName(domain int) string {
	if name := families[domain]; name != "" {
		return name
	}
	return fmt.Sprintf("a socket of family %d, which is not known", domain)
}
