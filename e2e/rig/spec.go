package rig

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Config says what container to make. The zero value of each field is what most
// tests want.
type Config struct {
	Args       []string // the command; a path inside the container
	Env        []string // beside PATH and HOME
	Cwd        string   // / if empty
	UID, GID   uint32
	Groups     []uint32
	Caps       []string          // beside the usual ones
	Stdio      StdioKind         // LogFile unless said
	HostUsr    bool              // see the host's programs, read-only, rather than busybox alone
	Mounts     []specs.Mount     // beside the usual ones
	Unconfined bool              // without the usual seccomp filter
	UserNS     bool              // with a user namespace, as every container if UserNS() says so
	Edit       func(*specs.Spec) // last word on config.json
}

// defaultCaps are the capabilities that container engines leave to root.
var defaultCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
	"CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

func mount(target, kind, source string, options ...string) specs.Mount {
	return specs.Mount{Destination: target, Type: kind, Source: source, Options: options}
}

// Bind is a read-only bind mount of a path on the host.
func Bind(source, target string) specs.Mount {
	return mount(target, "bind", source, "rbind", "ro")
}

// BindWritable is a bind mount that the container may write to.
func BindWritable(source, target string) specs.Mount {
	return mount(target, "bind", source, "rbind", "rw")
}

// spec fills in config.json in the shape of `runc spec` and the defaults of the
// container engines.
func (c *Container) spec(config Config) *specs.Spec {
	cwd := config.Cwd
	if cwd == "" {
		cwd = "/"
	}
	caps := slices.Concat(defaultCaps, config.Caps)
	spec := &specs.Spec{
		Version:  "1.0.2",
		Hostname: "rethaw-" + c.label,
		Root:     &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Terminal:     config.Stdio == Terminal,
			Args:         config.Args,
			Env:          append([]string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8"}, config.Env...),
			Cwd:          cwd,
			User:         specs.User{UID: config.UID, GID: config.GID, AdditionalGids: config.Groups},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1024, Hard: 4096}},
		},
		Mounts: []specs.Mount{
			mount("/proc", "proc", "proc"),
			mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
			mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
			mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=262144k"),
			mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
			mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
			mount("/run", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=755", "size=65536k"),
			mount("/tmp", "tmpfs", "tmpfs", "nosuid", "nodev", "mode=1777"),
			BindWritable(c.StateDir, "/state"),
		},
		Linux: &specs.Linux{
			CgroupsPath: "/" + c.cgroup,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace},
			},
			Seccomp:       seccompProfile(),
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if config.Unconfined {
		spec.Linux.Seccomp = nil
	}
	if c.userNS {
		mapUsers(spec)
	}
	if config.UID == 0 {
		spec.Process.Capabilities.Effective = caps
		spec.Process.Capabilities.Permitted = caps
	}
	if config.HostUsr {
		spec.Mounts = append(spec.Mounts, Bind("/usr", "/usr"))
		for _, dir := range []string{"/etc/alternatives", "/etc/ssl", "/etc/java-17-openjdk", "/etc/ld.so.cache"} {
			if _, err := os.Stat(dir); err == nil {
				spec.Mounts = append(spec.Mounts, Bind(dir, dir))
			}
		}
	}
	spec.Mounts = append(spec.Mounts, config.Mounts...)
	if config.Edit != nil {
		config.Edit(spec)
	}
	return spec
}

// writeSpec writes config.json into the bundle.
func writeSpec(bundle string, spec *specs.Spec) error {
	text, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(bundle, "config.json"), text, 0o644)
}

// makeRootfs lays out a small system in dir: users, directories, and busybox
// under all its names, or links into the host's /usr where that is mounted.
// Nothing is fetched.
func makeRootfs(dir string, hostUsr bool) error {
	for _, sub := range []string{"dev", "etc", "proc", "sys", "root", "run", "state", "programs", "usr", "data", "srv", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	for _, sub := range []string{"tmp", "var/tmp"} {
		path := filepath.Join(dir, sub)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := unix.Chmod(path, 0o1777); err != nil {
			return err
		}
	}
	for name, text := range etcFiles {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if hostUsr {
		return linkUsr(dir)
	}
	return linkBusybox(dir)
}
