package image

import (
	"reflect"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

// parentID is an address space that another one inherits from, in samples.
const parentID specs.ID = 1

// samples are an image with one record of each type, under the number of its type,
// with every field set. own are pages that have bytes.
func samples(t testing.TB, own specs.Extent) []entity {
	t.Helper()
	h := &specs.Header{}
	var n uint64
	set(reflect.ValueOf(h).Elem(), "", &n)
	h.PageSize, h.Machine, h.CPU, h.Root = 4096, "x86_64", []string{"fpu"}, specs.ID(specs.TypeTask)
	plausible(h)
	list := []entity{{0, h}, {parentID, &specs.Memory{
		Areas: []specs.Area{{Start: 1 << 20, End: 1<<20 + 3<<12, Kind: "anon"}, {Start: own.Start, End: own.Start + own.Count<<12, Kind: "anon"}},
		Pages: []specs.Extent{own},
	}}}
	for _, kind := range types() {
		r, id := sample(t, kind)
		list = append(list, entity{id, r})
	}
	return list
}

// sample is a record of a type with every field set, and its ID. What it refers to
// is among samples.
func sample(t testing.TB, kind specs.Type) (specs.Record, specs.ID) {
	t.Helper()
	r := empty(kind)
	if r == nil {
		t.Fatalf("no record of type %d", kind)
	}
	var n uint64
	set(reflect.ValueOf(r).Elem(), "", &n)
	plausible(r)
	return r, specs.ID(kind)
}

// set gives every field below v a value of its own. field is the one that v stands in.
func set(v reflect.Value, field string, n *uint64) {
	*n++
	switch x := v.Addr().Interface().(type) {
	case *specs.ID:
		*x = specs.ID(specs.TypeEventfd)
		if allowed := targets[field]; allowed[0] != anyFile {
			*x = specs.ID(allowed[0])
		}
		return
	case *specs.Extent:
		*x = specs.Extent{Start: 1 << 20, Count: 3, Inherit: true}
		return
	case *specs.Siginfo:
		*x = make(specs.Siginfo, 128)
		(*x)[0] = 10
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			set(v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name, n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem(), field, n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0), field, n)
	case reflect.Array:
		for i := range v.Len() {
			set(v.Index(i), field, n)
		}
	case reflect.String:
		v.SetString("/text \xff")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(*n%100) + 1)
	default:
		v.SetUint(*n%100 + 1)
	}
}

// plausible gives what Validate looks at values that it can have.
func plausible(r specs.Record) {
	if f, ok := r.(specs.File); ok {
		b := f.Base()
		b.OwnerType, b.Signal = 2, 29
	}
	address := []byte{2, 0, 0, 80, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}
	option := []specs.SocketOption{{Level: 1, Name: 2, Value: []byte{3}}}
	switch r := r.(type) {
	case *specs.Members:
		r.Files[0].Sum = make([]byte, sumSize)
	case *specs.Task:
		r.PID, r.PPID, r.State, r.Stop, r.Dumpable = 7, 3, "running", "continued", 1
		r.ExitCode, r.StopSignal, r.ExitSignal, r.Comm = 9, 19, 17, "comm \xff"
		r.Limits = [][2]uint64{{1, 2}}
		r.Handlers[0].Signal, r.Intervals[0].Which = 12, 2
		r.Timers[0].Clock, r.Timers[0].Notify, r.Timers[0].Signal, r.Timers[0].TID = 1, 4, 34, 7
		r.Attributes.Membarrier, r.Attributes.Autogroup = 1<<4, -3
	case *specs.Thread:
		r.TID, r.Comm, r.PDeathSig, r.Creds.SecureBits = 7, "comm \xff", 15, 0x10
		r.Sched.Policy, r.Sched.Nice, r.Sched.Priority = 3, -3, 1
		r.Seccomp.Mode, r.Seccomp.Inherited, r.Seccomp.Filters[0].Program = 2, 1, make([]byte, 8)
		a := r.Attributes
		a.MCEKill, a.Speculation[0].Which, a.Speculation[0].Control, a.Policy.Mode = 2, 1, 4, 2
	case *specs.Memory:
		r.Parent, r.Auxv = parentID, make([]byte, 16)
		a := &r.Areas[0]
		a.Start, a.End, a.Prot, a.Kind, a.Flags, a.PKey, a.HugePage = 1<<20, 1<<20+3<<12, 3, "shm", []string{"nh"}, 2, 21
		a.File, a.Policy.Mode, a.Flock = specs.ID(specs.TypeShared), 2, 2
		r.Guards[0] = specs.Guard{Start: 1 << 20, End: 1<<20 + 1<<12}
	case *specs.Shared:
		r.Size, r.Kind, r.Seals, r.HugePage = 1<<20+3<<12, "memfd", 5, 21
	case *specs.Ghost:
		r.Size, r.Mode = 1<<20+3<<12, 0o100600
	case *specs.Pipe:
		pipe(r)
	case *specs.FIFO:
		pipe(&r.Pipe)
	case *specs.FDs:
		r.Entries[0].Number = 5
	case *specs.Device:
		r.Major, r.Minor = 1, 3
	case *specs.Stdio:
		r.Role = 2
	case *specs.Timerfd:
		r.Clock, r.SetFlags = 7, 3
	case *specs.Request:
		r.Shutdown, r.Options = 3, option
	case *specs.UnixSocket:
		r.Kind, r.State, r.Shutdown, r.Options = 5, "connected", 3, option
		r.Queue[0].Creds = []uint32{1, 2, 3}
	case *specs.InetSocket:
		r.Family, r.Kind, r.Protocol, r.State, r.Shutdown, r.Local, r.Remote = 2, 1, 6, 1, 3, address, address
		r.Options, r.Filter, r.Interface = option, make([]byte, 8), "eth0"
		r.Queue[0].From, r.Queue[0].To = address, address[4:8]
		g := &r.Groups[0]
		g.Interface, g.Group, g.Mode, g.Sources = "eth0", address[4:8], 1, [][]byte{address[4:8]}
		r.Waiting[0].Local, r.Waiting[0].Remote = address, address
		r.TCP.Window, r.TCP.Unsent = make([]byte, 20), 1
	case *specs.NetlinkSocket:
		r.Kind, r.Protocol, r.Options = 3, 0, option
	case *specs.Terminal:
		r.Pair.Termios, r.Pair.Size = make([]byte, 44), make([]byte, 8)
	case *specs.Lock:
		r.Class = specs.LockOFD
	case *specs.Tmpfs:
		r.Archive, r.Bytes, r.Offset = "tmpfs-1.tar", 3, 3
	case *specs.SysVSem:
		r.Mode, r.Values, r.PIDs, r.Undo[0].Semaphore, r.Undo[0].Adjust = 0o600, []uint16{1}, []int32{7}, 0, -1
	case *specs.SysVShm:
		r.Mode = 0o600
	case *specs.SysVMsg:
		r.Mode = 0o600
	}
}

// pipe has data in the image and in pages.
func pipe(p *specs.Pipe) {
	p.Size, p.Data, p.Length = 1<<21, []byte("data"), 1<<20+3<<12
	p.Packets, p.Streams = []uint32{4, 1<<20 + 3<<12}, []uint32{1}
}
