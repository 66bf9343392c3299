package procfs

import (
	"os"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

const someLocks = "1: POSIX  ADVISORY  WRITE 16917 fe:00:9977873 5 14\n" +
	"2: FLOCK  ADVISORY  WRITE 16917 fe:00:9977873 0 EOF\n" +
	"2: -> FLOCK  ADVISORY  WRITE 16967 fe:00:9977873 0 EOF\n" +
	"2:  -> FLOCK  ADVISORY  READ  16968 fe:00:9977873 0 EOF\n" +
	"3: LEASE  ACTIVE    READ  77 00:2a:12 0 EOF\n" +
	"4: LEASE  BREAKING  UNLCK 78 00:2a:13 0 EOF\n" +
	"4: -> LEASE  BREAKER   WRITE 79 <none>:0 0 EOF\n" +
	"5: OFDLCK ADVISORY  READ  -1 00:2a:14 1 1\n"

func TestParseLocks(t *testing.T) {
	file := Lock{Mode: "ADVISORY", Type: "WRITE", Major: 0xfe, Inode: 9977873, End: LockEOF}
	with := func(id int64, pid int, change func(*Lock)) Lock {
		l := file
		l.ID, l.PID, l.Class = id, pid, "FLOCK"
		change(&l)
		return l
	}
	want := []Lock{
		with(1, 16917, func(l *Lock) { l.Class, l.Start, l.End = "POSIX", 5, 14 }),
		with(2, 16917, func(*Lock) {}),
		with(2, 16967, func(l *Lock) { l.Blocked = true }),
		with(2, 16968, func(l *Lock) { l.Blocked, l.Type = true, "READ" }),
		{ID: 3, Class: "LEASE", Mode: "ACTIVE", Type: "READ", PID: 77, Minor: 0x2a, Inode: 12, End: LockEOF},
		{ID: 4, Class: "LEASE", Mode: "BREAKING", Type: "UNLCK", PID: 78, Minor: 0x2a, Inode: 13, End: LockEOF},
		{ID: 4, Blocked: true, Class: "LEASE", Mode: "BREAKER", Type: "WRITE", PID: 79, End: LockEOF},
		{ID: 5, Class: "OFDLCK", Mode: "ADVISORY", Type: "READ", PID: -1, Minor: 0x2a, Inode: 14, Start: 1, End: 1},
	}
	got, err := ParseLocks([]byte(someLocks))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	for _, bad := range []string{"\n", "1: POSIX ADVISORY WRITE 1 fe:00:1 5\n", "x: FLOCK ADVISORY WRITE 1 fe:00:1 0 EOF\n", "1: FLOCK ADVISORY WRITE 1 fe:00 0 EOF\n"} {
		if got, err := ParseLocks([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

// TestReadLocks looks for a lock of the test itself.
func TestReadLocks(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	locks, err := ReadLocks()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range locks {
		if l.PID == os.Getpid() && l.Inode == stat.Ino && l.Class == "FLOCK" && l.Type == "READ" {
			return
		}
	}
	t.Errorf("the lock on inode %d is not among %+v", stat.Ino, locks)
}

func FuzzParseLocks(f *testing.F) {
	f.Add([]byte(someLocks))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseLocks(b) })
}
