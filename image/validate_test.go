package image

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/specs"
)

// nonsense is one way to spoil a record of a type, and what the refusal says.
type nonsense struct {
	name  string
	spoil func(r specs.Record)
	says  string
}

// row makes one for records of one type.
func row[T specs.Record](name, says string, spoil func(T)) nonsense {
	return nonsense{reflect.TypeFor[T]().Elem().Name() + ": " + name, func(r specs.Record) {
		if typed, ok := r.(T); ok {
			spoil(typed)
		}
	}, says}
}

// allNonsense has at least one row for each type of record.
func allNonsense() []nonsense {
	const self = specs.ID(specs.TypeTask)
	return []nonsense{
		row("no root", "names no task", func(h *specs.Header) { h.Root = 0 }),
		row("root of another type", "Header.Root", func(h *specs.Header) { h.Root = specs.ID(specs.TypeThread) }),
		row("a path that climbs", "climbs", func(h *specs.Header) { h.Rootfs = "/a/../../etc" }),
		row("a mount point that climbs", "climbs", func(h *specs.Header) { h.Mounts[0].Point = "/.." }),
		row("an endless release", "release", func(h *specs.Header) { h.Release = strings.Repeat("6", 1<<20) }),

		row("pid 0", "pid is 0", func(r *specs.Task) { r.PID = 0 }),
		row("pid of 2^31-1", "pid is", func(r *specs.Task) { r.PID = math.MaxInt32 }),
		row("negative parent", "parent", func(r *specs.Task) { r.PPID = -1 }),
		row("unknown state", "state", func(r *specs.Task) { r.State = "undead" }),
		row("zombie with threads", "zombie", func(r *specs.Task) { r.State = "zombie" }),
		row("no thread", "no thread", func(r *specs.Task) { r.Threads = nil }),
		row("a thread twice", "twice", func(r *specs.Task) { r.Threads = append(r.Threads, r.Threads[0]) }),
		row("a thread that is a task", "Task.Threads", func(r *specs.Task) { r.Threads[0] = self }),
		row("no address space", "address space", func(r *specs.Task) { r.Memory = 0 }),
		row("files for memory", "Task.Memory", func(r *specs.Task) { r.Memory = r.FDs }),
		row("a program that is a pipe", "Task.Exe", func(r *specs.Task) { r.Exe = specs.ID(specs.TypePipe) }),
		row("handler of signal 0", "signal is 0", func(r *specs.Task) { r.Handlers[0].Signal = 0 }),
		row("handler of signal 1000", "signal is 1000", func(r *specs.Task) { r.Handlers[0].Signal = 1000 }),
		row("handler of SIGKILL", "cannot be handled", func(r *specs.Task) { r.Handlers[0].Signal = 9 }),
		row("a handler twice", "twice", func(r *specs.Task) { r.Handlers = append(r.Handlers, r.Handlers[0]) }),
		row("unknown limits", "limits", func(r *specs.Task) { r.Limits = make([][2]uint64, 99) }),
		row("soft above hard", "soft value", func(r *specs.Task) { r.Limits[0] = [2]uint64{3, 2} }),
		row("short siginfo", "siginfo", func(r *specs.Task) { r.Pending[0] = r.Pending[0][:5] }),
		row("signal 0 queued", "signal is 0", func(r *specs.Task) { r.Pending[0] = make(specs.Siginfo, 128) }),
		row("interval timer 7", "kind is 7", func(r *specs.Task) { r.Intervals[0].Which = 7 }),
		row("negative time", "value", func(r *specs.Task) { r.Intervals[0].Value = -1 }),
		row("clock 77", "clock is 77", func(r *specs.Task) { r.Timers[0].Clock = 77 }),
		row("timer of another's thread", "notifies", func(r *specs.Task) { r.Timers[0].TID = 8 }),
		row("timer of 2^31", "number", func(r *specs.Task) { r.Timers[0].ID = math.MaxInt32 }),
		row("name with a NUL", "NUL", func(r *specs.Task) { r.Comm = "a\x00b" }),
		row("unknown membarrier", "membarrier", func(r *specs.Task) { r.Attributes.Membarrier = 1 << 31 }),
		row("exit signal 99", "exit signal", func(r *specs.Task) { r.ExitSignal = 99 }),
		row("dumpable 5", "dumpable", func(r *specs.Task) { r.Dumpable = 5 }),

		row("tid not of the task", "first one", func(r *specs.Thread) { r.TID = 99 }),
		row("no registers", "registers", func(r *specs.Thread) { r.Ended, r.Registers = false, nil }),
		row("endless state", "extended state", func(r *specs.Thread) { r.XState = make([]byte, 1<<20) }),
		row("long name", "name", func(r *specs.Thread) { r.Comm = "sixteen letters." }),
		row("crooked filter", "entry", func(r *specs.Thread) { r.Seccomp.Filters[0].Program = make([]byte, 9) }),
		row("empty filter", "size is 0", func(r *specs.Thread) { r.Seccomp.Filters[0].Program = nil }),
		row("seccomp mode 3", "mode", func(r *specs.Thread) { r.Seccomp.Mode = 3 }),
		row("more inherited than there are", "inherited", func(r *specs.Thread) { r.Seccomp.Inherited = 2 }),
		row("policy 77", "policy", func(r *specs.Thread) { r.Sched.Policy = 77 }),
		row("nice 40", "nice", func(r *specs.Thread) { r.Sched.Nice = 40 }),
		row("too many groups", "groups", func(r *specs.Thread) { r.Creds.Groups = make([]uint32, 1<<17) }),
		row("uid -1", "uid", func(r *specs.Thread) { r.Creds.EUID = math.MaxUint32 }),
		row("unknown securebits", "securebits", func(r *specs.Thread) { r.Creds.SecureBits = 1 << 30 }),
		row("sleep of -2", "time left", func(r *specs.Thread) { r.Sleep.Left = -2 }),
		row("NUMA mode 99", "memory policy", func(r *specs.Thread) { r.Attributes.Policy.Mode = 99 }),

		row("area outside", "not the addresses", func(r *specs.Memory) { lastArea(r).End = 1 << 60 }),
		row("area without end", "not the addresses", func(r *specs.Memory) { lastArea(r).End = 0 }),
		row("crooked area", "not the addresses", func(r *specs.Memory) { lastArea(r).Start += 7 }),
		row("areas overlap", "begins before", func(r *specs.Memory) { r.Areas = append(r.Areas, r.Areas[len(r.Areas)-1]) }),
		row("protection 77", "protection", func(r *specs.Memory) { lastArea(r).Prot = 77 }),
		row("unknown kind", "kind", func(r *specs.Memory) { lastArea(r).Kind = "swap" }),
		row("anonymous with a file", "maps object", func(r *specs.Memory) { lastArea(r).Kind, lastArea(r).File = "anon", specs.ID(specs.TypeRegular) }),
		row("file without one", "maps object", func(r *specs.Memory) { lastArea(r).Kind, lastArea(r).File = "file", 0 }),
		row("maps a pipe", "Area.File", func(r *specs.Memory) { lastArea(r).Kind, lastArea(r).File = "file", specs.ID(specs.TypePipe) }),
		row("name with a NUL", "NUL", func(r *specs.Memory) { lastArea(r).Name = "\x00" }),
		row("pages outside the areas", "not within the areas", func(r *specs.Memory) { r.Pages[0].Start = 1 << 40 }),
		row("pages of the vdso", "not within the areas", func(r *specs.Memory) { lastArea(r).Kind, lastArea(r).File = "vdso", 0; r.Guards = nil }),
		row("guard outside", "guard", func(r *specs.Memory) { r.Guards = []specs.Guard{{Start: 1 << 40, End: 1<<40 + 4096}} }),
		row("its own parent", "back to itself", func(r *specs.Memory) { r.Parent = specs.ID(specs.TypeMemory) }),
		row("program at the end of the world", "none of a program", func(r *specs.Memory) { r.Brk = math.MaxUint64 }),
		row("endless auxv", "auxv", func(r *specs.Memory) { r.Auxv = make([]byte, 1<<20) }),
		row("flag of three letters", "no flag", func(r *specs.Memory) { lastArea(r).Flags = []string{"abc"} }),
		row("huge pages of 2^60", "huge pages", func(r *specs.Memory) { lastArea(r).HugePage = 60 }),

		row("relative directory", "not absolute", func(r *specs.FS) { r.Cwd = "tmp" }),
		row("unreachable directory", "not absolute", func(r *specs.FS) { r.Cwd = "(unreachable)/x" }),
		row("umask", "umask", func(r *specs.FS) { r.Umask = 0o7777 }),
		row("ghost that is a task", "FS.Ghost", func(r *specs.FS) { r.Ghost = self }),
		row("descriptor of 2^31-1", "number", func(r *specs.FDs) { r.Entries[0].Number = math.MaxInt32 }),
		row("descriptor of -1", "number", func(r *specs.FDs) { r.Entries[0].Number = -1 }),
		row("a descriptor twice", "twice", func(r *specs.FDs) { r.Entries = append(r.Entries, r.Entries[0]) }),
		row("descriptor of a task", "FD.File", func(r *specs.FDs) { r.Entries[0].File = self }),
		row("descriptor of nothing", "missing", func(r *specs.FDs) { r.Entries[0].File = 0 }),

		row("pages behind the end", "contents end", func(r *specs.Shared) { r.Size = 4096 }),
		row("unknown kind", "kind", func(r *specs.Shared) { r.Kind = "swap" }),
		row("endless size", "size", func(r *specs.Shared) { r.Size = math.MaxUint64 }),
		row("unknown seals", "seals", func(r *specs.Shared) { r.Seals = 1 << 30 }),
		row("relative path", "not absolute", func(r *specs.Regular) { r.Path = "etc/passwd" }),
		row("path that climbs", "climbs", func(r *specs.Regular) { r.Path = "/tmp/../../etc/passwd" }),
		row("no path", "empty", func(r *specs.Regular) { r.Path = "" }),
		row("path with a NUL", "NUL", func(r *specs.Regular) { r.Path = "/tmp\x00/x" }),
		row("link that climbs", "climbs", func(r *specs.Regular) { r.Link = "/.." }),
		row("negative position", "position", func(r *specs.Regular) { r.Position = -1 }),
		row("negative size", "size", func(r *specs.Ghost) { r.Size = -1 }),
		row("a device", "type", func(r *specs.Ghost) { r.Mode = 0o020666 }),
		row("pages behind the end", "contents end", func(r *specs.Ghost) { r.Size = 1 }),
		row("path that climbs", "climbs", func(r *specs.Directory) { r.Path = "/a/.." }),
		row("owner type", "owner type", func(r *specs.Path) { r.OwnerType = 9 }),
		row("the disk", "device", func(r *specs.Device) { r.Major, r.Minor = 8, 0 }),
		row("role 7", "role", func(r *specs.Stdio) { r.Role = 7 }),
		row("relative path", "not absolute", func(r *specs.ProcFile) { r.Path = "self/mem" }),
		row("signal 99", "signal", func(r *specs.Signalfd) { r.Signal = 99 }),

		row("more than fits", "length", func(r *specs.Pipe) { r.Size = 4096 }),
		row("pieces of another sum", "sum", func(r *specs.Pipe) { r.Packets[0]++ }),
		row("stream that is no piece", "stream", func(r *specs.Pipe) { r.Streams[0] = 99 }),
		row("no path", "empty", func(r *specs.FIFO) { r.Path = "" }),
		row("count that cannot be", "count", func(r *specs.Eventfd) { r.Count = math.MaxUint64 }),
		row("watches itself", "back to itself", func(r *specs.Epoll) { r.Watches[0].File = specs.ID(specs.TypeEpoll) }),
		row("watches a task", "Watch.File", func(r *specs.Epoll) { r.Watches[0].File = self }),
		row("clock 77", "clock", func(r *specs.Timerfd) { r.Clock = 77 }),
		row("pid of -5", "pid", func(r *specs.Pidfd) { r.PID = -5 }),
		row("watch of 2^31-1", "number", func(r *specs.Inotify) { r.Watches[0].WD = math.MaxInt32 }),
		row("object that is a task", "Memfd.Object", func(r *specs.Memfd) { r.Object = self }),
		row("shutdown 9", "shutdown", func(r *specs.Request) { r.Shutdown = 9 }),

		row("unknown kind", "kind", func(r *specs.UnixSocket) { r.Kind = 99 }),
		row("unknown state", "state", func(r *specs.UnixSocket) { r.State = "dreaming" }),
		row("long name", "name", func(r *specs.UnixSocket) { r.Name = make([]byte, 109) }),
		row("peer that is a pipe", "UnixSocket.Peer", func(r *specs.UnixSocket) { r.Peer = specs.ID(specs.TypePipe) }),
		row("credentials of five numbers", "credentials", func(r *specs.UnixSocket) { r.Queue[0].Creds = make([]uint32, 5) }),
		row("too many in flight", "descriptors", func(r *specs.UnixSocket) {
			for range 300 {
				r.Queue[0].Files = append(r.Queue[0].Files, r.Queue[0].Files[0])
			}
		}),
		row("family 77", "family", func(r *specs.InetSocket) { r.Family = 77 }),
		row("state 99", "state", func(r *specs.InetSocket) { r.State = 99 }),
		row("short address", "local address", func(r *specs.InetSocket) { r.Local = r.Local[:3] }),
		row("address of another family", "family of the remote", func(r *specs.InetSocket) { r.Remote = make([]byte, 16) }),
		row("peer that is a task", "TCP.Peer", func(r *specs.InetSocket) { r.TCP.Peer = self }),
		row("more unsent than there is", "unsent", func(r *specs.InetSocket) { r.TCP.Unsent = 9999 }),
		row("unknown class", "class", func(r *specs.Lock) { r.Class = "mandatory" }),
		row("beyond the end of all files", "length", func(r *specs.Lock) { r.Start, r.Length = math.MaxInt64-1, 2 }),
		row("of a table that is a pipe", "Lock.Table", func(r *specs.Lock) { r.Table = specs.ID(specs.TypePipe) }),
		row("protocol 99", "protocol", func(r *specs.NetlinkSocket) { r.Protocol = 99 }),
		row("terminal of 2^31-1", "number", func(r *specs.Terminal) { r.Index = math.MaxInt32 }),
		row("short settings", "settings", func(r *specs.Terminal) { r.Pair.Termios = make([]byte, 7) }),

		row("long name", "host name", func(r *specs.UTS) { r.Hostname = strings.Repeat("h", 65) }),
		row("part outside the archive", "not within", func(r *specs.Tmpfs) { r.Bytes = 1 << 40 }),
		row("negative offset", "offset", func(r *specs.Tmpfs) { r.Offset = -1 }),
		row("mount point that climbs", "climbs", func(r *specs.Tmpfs) { r.Point = "/../../root" }),
		row("no bytes", "size", func(r *specs.SysVShm) { r.Size = 0 }),
		row("object that is a task", "SysVShm.Object", func(r *specs.SysVShm) { r.Object = self }),
		row("value above SEMVMX", "value", func(r *specs.SysVSem) { r.Values[0] = 40000 }),
		row("undo of semaphore 9", "semaphore", func(r *specs.SysVSem) { r.Undo[0].Semaphore = 9 }),
		row("message type 0", "type", func(r *specs.SysVMsg) { r.Messages[0].Type = 0 }),
		row("setuid permissions", "mode", func(r *specs.SysVMsg) { r.Mode = 0o4777 }),
	}
}

// lastArea is the one that a sample's pages lie in.
func lastArea(m *specs.Memory) *specs.Area { return &m.Areas[len(m.Areas)-1] }

// spoilt is an image whose framing, sums and digest are right.
func spoilt(t *testing.T, spoil func(specs.Record), more ...entity) []byte {
	t.Helper()
	var frames [][]byte
	for _, r := range append(samples(t, specs.Extent{Start: 1 << 30, Count: 1, File: 1}), more...) {
		if r.ID != parentID {
			spoil(r.Record)
		}
		frames = append(frames, frame(t, r.ID, r.Record))
	}
	sum := make([]byte, sumSize)
	return rewrite(append(frames, frame(t, 0, &specs.Members{Files: []specs.Member{
		{Name: "pages-1.rp", Size: 4096, Sum: sum}, {Name: "tmpfs-1.tar", Size: 6, Sum: sum}}}))...)
}

func TestNonsenseIsRefused(t *testing.T) {
	if _, err := read(spoilt(t, func(specs.Record) {})); err != nil {
		t.Fatalf("the samples themselves: %v", err)
	}
	covered := map[string]bool{"Members": true}
	for _, n := range allNonsense() {
		kind, _, _ := strings.Cut(n.name, ":")
		covered[kind] = true
		t.Run(n.name, func(t *testing.T) {
			_, err := read(spoilt(t, n.spoil))
			if !errors.Is(err, ErrCorrupt) || !typed(err) || !strings.Contains(err.Error(), n.says) {
				t.Errorf("want %q in: %v", n.says, err)
			}
		})
	}
	for _, kind := range specs.Types() {
		if name := typeName(empty(kind)); !covered[name] {
			t.Errorf("no nonsense of a %s is tried", name)
		}
	}
}

func TestNonsenseAmongRecords(t *testing.T) {
	task := func(pid, parent int32, thread specs.ID) *specs.Task {
		return &specs.Task{PID: pid, PPID: parent, State: "running", Threads: []specs.ID{thread},
			Memory: parentID, FDs: specs.ID(specs.TypeFDs), FS: specs.ID(specs.TypeFS), Exe: specs.ID(specs.TypeRegular)}
	}
	thread := func(tid int32) *specs.Thread { return &specs.Thread{TID: tid, Registers: make([]byte, 216)} }
	epoll := func(watches specs.ID) *specs.Epoll { return &specs.Epoll{Watches: []specs.Watch{{File: watches}}} }
	for name, c := range map[string]struct {
		more []entity
		says string
	}{
		"nothing wrong":         {[]entity{{500, task(8, 7, 501)}, {501, thread(8)}, {502, epoll(503)}, {503, epoll(specs.ID(specs.TypeEpoll))}}, ""},
		"parent elsewhere":      {[]entity{{500, task(8, 99, 501)}, {501, thread(8)}}, ""},
		"its own parent":        {[]entity{{500, task(8, 8, 501)}, {501, thread(8)}}, "back to itself"},
		"parents of each other": {[]entity{{500, task(8, 9, 501)}, {501, thread(8)}, {502, task(9, 8, 503)}, {503, thread(9)}}, "back to itself"},
		"two with one pid":      {[]entity{{500, task(7, 7, 501)}, {501, thread(7)}}, "another task too"},
		"a thread of two":       {[]entity{{500, task(8, 7, specs.ID(specs.TypeThread))}}, "one of task"},
		"tid of another task": {[]entity{{500, func() *specs.Task { t := task(8, 7, 501); t.Threads = append(t.Threads, 502); return t }()},
			{501, thread(8)}, {502, thread(7)}}, "is taken"},
		"epoll of each other":  {[]entity{{502, epoll(503)}, {503, epoll(502)}}, "back to itself"},
		"spaces of each other": {[]entity{{502, &specs.Memory{Parent: 503}}, {503, &specs.Memory{Parent: 502}}}, "back to itself"},
		"inherits from nobody": {[]entity{{502, &specs.Memory{Areas: []specs.Area{{Start: 4096, End: 8192, Kind: "anon"}},
			Pages: []specs.Extent{{Start: 4096, Count: 1, Inherit: true}}}}}, "from nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(spoilt(t, func(specs.Record) {}, c.more...))
			if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("want %q in: %v", c.says, err)
			}
		})
	}
}

// TestLongWays: chains as long as an image can make them take no time worth mentioning.
func TestLongWays(t *testing.T) {
	const n = 50_000
	var more []entity
	for i := range specs.ID(n) {
		more = append(more, entity{1000 + i, &specs.Memory{Parent: max(1000+i-1, parentID) * min(i, 1)}})
	}
	for i := range specs.ID(n) {
		e := &specs.Epoll{}
		for k := range min(i, 3) {
			e.Watches = append(e.Watches, specs.Watch{File: 100_000 + i - k - 1})
		}
		more = append(more, entity{100_000 + i, e})
	}
	if _, err := read(spoilt(t, func(specs.Record) {}, more...)); err != nil {
		t.Fatal(err)
	}
}

// TestEveryReferenceHasTargets: no field may lead to just any object.
func TestEveryReferenceHasTargets(t *testing.T) {
	found := map[string]bool{}
	var walk func(v reflect.Type, field string)
	seen := map[string]bool{}
	walk = func(v reflect.Type, field string) {
		if v == reflect.TypeFor[specs.ID]() {
			found[field] = true
			return
		}
		if key := v.String() + field; seen[key] {
			return
		} else {
			seen[key] = true
		}
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(v.Elem(), field)
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i).Type, v.Name()+"."+v.Field(i).Name)
			}
		}
	}
	for _, kind := range specs.Types() {
		walk(reflect.TypeOf(empty(kind)), "")
	}
	for field := range found {
		if len(targets[field]) == 0 {
			t.Errorf("%s: what may it lead to? (kinds.go)", field)
		}
	}
	for field := range targets {
		if !found[field] {
			t.Errorf("%s is in the table and in no record", field)
		}
	}
}
