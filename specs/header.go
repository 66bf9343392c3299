package specs

import "math"

// FormatVersion is the major version of the image format. A reader refuses a
// newer one.
const FormatVersion = 1

// Header is the first record of an image: what was saved, where and by what.
// It is the heir of the header of checkpoint-restart v2, which carried the UTS
// release, version and machine.
type Header struct {
	// Tool is the version of the program that wrote the image.
	Tool string `cbor:"1,keyasint,omitempty"`
	// Release, Version and Machine are those of uname(2) at checkpoint.
	Release string `cbor:"2,keyasint,omitempty"`
	Version string `cbor:"3,keyasint,omitempty"`
	Machine string `cbor:"4,keyasint,omitempty"`
	// PageSize is in bytes.
	PageSize uint32 `cbor:"5,keyasint,omitempty"`
	// XStateSize is the size in bytes of the extended processor state and
	// XFeatures its XCR0 mask (Intel SDM vol. 1, 13.3).
	XStateSize uint32 `cbor:"6,keyasint,omitempty"`
	XFeatures  uint64 `cbor:"7,keyasint,omitempty"`
	// CPU lists the processor's feature flags as /proc/cpuinfo names them.
	CPU []string `cbor:"8,keyasint,omitempty"`
	// Created is the wall clock at the stop, in nanoseconds since 1970;
	// Monotonic and Boottime are those clocks at the same moment.
	Created   int64 `cbor:"9,keyasint,omitempty"`
	Monotonic int64 `cbor:"10,keyasint,omitempty"`
	Boottime  int64 `cbor:"11,keyasint,omitempty"`
	// Engine that held the container ("runc", "pid"...) and its name there.
	Engine    string `cbor:"12,keyasint,omitempty"`
	Container string `cbor:"13,keyasint,omitempty"`
	// Host is true for a tree of the host's own pid namespace (--pid).
	Host bool `cbor:"14,keyasint,omitempty"`
	// Rootfs is the container's root directory on the host.
	Rootfs string `cbor:"15,keyasint,omitempty"`
	// Root is the ID of the task that all others descend from.
	Root ID `cbor:"16,keyasint,omitempty"`
	// Mounts are the mount points of the container that an open file or a
	// mapping may need, as in its mountinfo.
	Mounts []Mount `cbor:"17,keyasint,omitempty"`
	// Bundle is the OCI bundle directory on the host, Terminal whether its
	// process has one.
	Bundle   string `cbor:"18,keyasint,omitempty"`
	Terminal bool   `cbor:"19,keyasint,omitempty"`
	// BootID is /proc/sys/kernel/random/boot_id: the same boot has the same
	// monotonic clock.
	BootID string `cbor:"20,keyasint,omitempty"`
	// MonotonicOffset and BoottimeOffset are by how many nanoseconds the clocks in the
	// container's time namespace were ahead of Monotonic and Boottime (time_namespaces(7)).
	MonotonicOffset int64 `cbor:"21,keyasint,omitempty"`
	BoottimeOffset  int64 `cbor:"22,keyasint,omitempty"`
	// VDSO is the kernel's vdso (vdso(7)), whole pages, none if there was none: programs keep addresses of its functions.
	VDSO []byte `cbor:"23,keyasint,omitempty"`
	// XComponents tells where the components of the extended state beyond x87 and SSE stand (CPUID leaf 0xd): makers of processors
	// have different places for them.
	XComponents []XComponent `cbor:"24,keyasint,omitempty"`
	// UIDMap and GIDMap are those of the container's user namespace (user_namespaces(7)), none if it has none of its own.
	// All numbers of users and groups in the image are those outside.
	UIDMap []IDRange `cbor:"25,keyasint,omitempty"`
	GIDMap []IDRange `cbor:"26,keyasint,omitempty"`
}

// IDRange is a line of /proc/PID/uid_map or gid_map: Count users or groups, from Inside on in the
// container and from Outside on around it.
type IDRange struct {
	Inside  uint32 `cbor:"1,keyasint,omitempty"`
	Outside uint32 `cbor:"2,keyasint,omitempty"`
	Count   uint32 `cbor:"3,keyasint,omitempty"`
}

// maxIDRanges is UID_GID_MAP_MAX_EXTENTS (include/linux/user_namespace.h).
const maxIDRanges = 340

func idRange(r *IDRange) error {
	return first(within("count", r.Count, 1, math.MaxUint32-max(r.Inside, r.Outside)))
}

// RecordType implements Record.
func (*Header) RecordType() Type { return TypeHeader }

// XComponent is one component of the extended state.
type XComponent struct {
	// Number is its bit in XCR0.
	Number uint32 `cbor:"1,keyasint,omitempty"`
	// Offset and Size are its place in Thread.XState, in bytes.
	Offset uint32 `cbor:"2,keyasint,omitempty"`
	Size   uint32 `cbor:"3,keyasint,omitempty"`
}

// Mount is one mount of the container's mount namespace (proc_pid_mountinfo(5)).
type Mount struct {
	Point  string `cbor:"1,keyasint,omitempty"`
	FSType string `cbor:"2,keyasint,omitempty"`
	Source string `cbor:"3,keyasint,omitempty"`
	Root   string `cbor:"4,keyasint,omitempty"`
}

// maxMounts and maxFeatures bound lists of the header, maxVDSO bytes: it has two pages on x86-64.
const (
	maxMounts   = 1 << 17
	maxFeatures = 1 << 12
	maxVDSO     = 1 << 18
)

// Validate implements Record.
func (h *Header) Validate() error {
	return first(
		text("release", h.Release, 256), text("version", h.Version, 256), text("machine", h.Machine, 256), text("tool", h.Tool, 256),
		text("engine", h.Engine, 256), text("container", h.Container, MaxPath), text("boot id", h.BootID, 64),
		anyPath("root filesystem", h.Rootfs), anyPath("bundle", h.Bundle),
		within("size of the processor state", h.XStateSize, 0, maxXState), atMost("processor features", len(h.CPU), maxFeatures),
		atMost("mounts", len(h.Mounts), maxMounts), atMost("bytes of the vdso", len(h.VDSO), maxVDSO),
		atMost("components of the processor state", len(h.XComponents), 64),
		each("component of the processor state", h.XComponents, func(c *XComponent) error {
			return first(within("number", c.Number, 2, 63), within("offset", c.Offset, 0, maxXState), within("size", c.Size, 0, maxXState))
		}),
		atMost("users of the container", len(h.UIDMap), maxIDRanges), each("users of the container", h.UIDMap, idRange),
		atMost("groups of the container", len(h.GIDMap), maxIDRanges), each("groups of the container", h.GIDMap, idRange),
		each("feature", h.CPU, func(s *string) error { return text("name", *s, 64) }),
		each("mount", h.Mounts, func(m *Mount) error {
			return first(path("point", m.Point), text("type", m.FSType, 256), text("source", m.Source, MaxPath), text("root", m.Root, MaxPath))
		}),
	)
}
