package procfs

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func TestParseFDInfo(t *testing.T) {
	for name, want := range map[string]FDInfo{
		"eventfd":    {Flags: 0o4002, MntID: 17, Ino: 1038, HasEventfd: true, EventfdCount: 7, EventfdID: 1, HasEventfdSemaphore: true},
		"eventfdsem": {Flags: 0o2000002, MntID: 17, Ino: 1038, HasEventfd: true, EventfdCount: 3, EventfdID: 2, HasEventfdSemaphore: true, EventfdSemaphore: true},
		"epoll": {Flags: 0o2000002, MntID: 17, Ino: 1038, Epoll: []EpollWatch{
			{FD: 7, Events: 0x4000001c, Data: 5, Ino: 0x2e8d, Dev: 15},
			{FD: 4, Events: 0x80000019, Data: 0xdeadbeefcafe0001, Ino: 0x40e, Dev: 16},
		}},
		"timerfd":    {Flags: 0o2, MntID: 17, Ino: 1038, Timerfd: &Timerfd{ClockID: 7, Value: 99456*1e9 + 909733153, Interval: 5*1e9 + 250}},
		"timerfdabs": {Flags: 0o4002, MntID: 17, Ino: 1038, Timerfd: &Timerfd{SettimeFlags: 3, Value: 2204551898*1e9 + 74983920}},
		"signalfd":   {Flags: 0o4002, MntID: 17, Ino: 1038, HasSigMask: true, SigMask: 0x8000001000000200},
		"pidfd":      {Flags: 0o2000002, MntID: 4, Ino: 8292, HasPid: true, Pid: 8291, NSpid: []int{8291}},
		"lock": {Pos: 10, Flags: 0o100002, MntID: 27, Ino: 9977967, Locks: []Lock{
			{ID: 1, Class: "FLOCK", Mode: "ADVISORY", Type: "WRITE", PID: 8291, Major: 0xfe, Inode: 9977967, End: LockEOF},
			{ID: 2, Class: "POSIX", Mode: "ADVISORY", Type: "WRITE", PID: 8291, Major: 0xfe, Inode: 9977967, Start: 2, End: 4},
			{ID: 3, Class: "OFDLCK", Mode: "ADVISORY", Type: "READ", PID: -1, Major: 0xfe, Inode: 9977967, Start: 6, End: LockEOF},
		}},
		"opath": {Flags: 0o12000000, MntID: 27, Ino: 246947},
		"scm":   {Flags: 0o2, MntID: 10, Ino: 11919, ScmFDs: 2},
		"ptmx":  {Flags: 0o100002, MntID: 24, Ino: 91, HasTTYIndex: true},
		"uffd":  {Flags: 0o4000, MntID: 17, Ino: 11922, Userfaultfd: &Userfaultfd{API: 0xaa, Known: 0x80000000000001ff}},
		"file":  {Flags: 0o102000, MntID: 27, Ino: 1196079},
		"tun":   {Flags: 0o100002, MntID: 24, Ino: 105, Other: []Line{{"iff", ""}}},
	} {
		want.HasIno = true
		got, err := ParseFDInfo(sample(t, "fdinfo."+name))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
	}
}

func TestParseFDInfoUnknown(t *testing.T) {
	for name, key := range map[string]string{"io_uring": "SqHead", "bpfmap": "map_type"} {
		info, err := ParseFDInfo(sample(t, "fdinfo."+name))
		if err != nil || !slices.Contains(info.Unknown(), key) {
			t.Errorf("%s: %v, %v", name, info.Unknown(), err)
		}
	}
}

func TestParseFDInfoOldKernels(t *testing.T) {
	const head = "pos:\t0\nflags:\t02\nmnt_id:\t9\n"
	info, err := ParseFDInfo([]byte(head + "eventfd-count:               1f\neventfd-id: 4\n"))
	if err != nil || info.HasIno || info.HasEventfdSemaphore || info.EventfdCount != 31 {
		t.Errorf("eventfd: %+v, %v", info, err)
	}
	info, err = ParseFDInfo([]byte(head + "tfd:        7 events:       19 data: deadbeef\n"))
	if err != nil || len(info.Epoll) != 1 || info.Epoll[0] != (EpollWatch{FD: 7, Events: 0x19, Data: 0xdeadbeef}) {
		t.Errorf("epoll: %+v, %v", info, err)
	}
	info, err = ParseFDInfo([]byte(head + "lock:\t1: -> LEASE  ACTIVE    READ 0 00:31:5 0 EOF\n"))
	if err != nil || len(info.Locks) != 1 || !info.Locks[0].Blocked || info.Locks[0].Mode != "ACTIVE" {
		t.Errorf("lease: %+v, %v", info, err)
	}
	info, err = ParseFDInfo([]byte(head + "Pid:\t-1\nNSpid:\t-1\n"))
	if err != nil || info.Pid != -1 {
		t.Errorf("pidfd of nobody: %+v, %v", info, err)
	}
}

func TestParseFDInfoBad(t *testing.T) {
	const head = "pos:\t0\nflags:\t02\nmnt_id:\t9\n"
	for _, text := range []string{
		"", "pos:\t0\n", "iff:\t\n" + head, "pos:\tx\nflags:\t02\nmnt_id:\t9\n", "pos:\t0\nflags:\t08\nmnt_id:\t9\n",
		"pos:\t0\nflags:\t077777777777\nmnt_id:\t9\n",
		head + "tfd: 7\n", head + "tfd: 7 events: 1\n", head + "tfd: 7 events: 1 data: 2 new: 3\n", head + "tfd: 7 events: 1ffffffff data: 1\n",
		head + "it_value: (1, 1000000000)\n", head + "it_value: (99999999999, 0)\n", head + "it_value: (1 2)\n", head + "it_value: 1, 2\n",
		head + "lock:\t1: POSIX  ADVISORY  WRITE 1 fe:00:1 0\n", head + "lock:\t1: POSIX  ADVISORY  WRITE 1 <none>:0 0 EOF\n",
		head + "lock:\t1: POSIX  ADVISORY  WRITE 1 fe:00:1 0 EOF more\n", head + "API:\taa:0\n", head + "eventfd-count: \n",
	} {
		if info, err := ParseFDInfo([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, info)
		}
	}
}

func FuzzParseFDInfo(f *testing.F) {
	names, err := filepath.Glob("testdata/fdinfo.*")
	if err != nil || len(names) == 0 {
		f.Fatal("no samples", err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseFDInfo(b) })
}
