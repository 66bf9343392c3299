package checkpoint

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// locked makes a file of process 7 (100 on the host), with locks.
func locked(locks ...procfs.Lock) (*dump, *openFile) {
	d := newDump(&Target{}, &Options{FileLocks: true})
	p := &process{pid: 100, nspid: 7, fds: 5}
	d.procs = []*process{p}
	d.mounts.byID = map[int]*mountinfo.Info{3: {FSType: "ext4"}, 4: {FSType: "tmpfs"}}
	f := &openFile{d: d, id: 9, proc: p, fd: 3, link: "/x", role: -1}
	f.stat.Mode, f.stat.Nlink = unix.S_IFREG, 1
	f.info.MntID, f.info.Locks = 3, locks
	return d, f
}

func TestLockRecords(t *testing.T) {
	for _, tt := range []struct {
		lock procfs.Lock
		want specs.Lock
		text string
	}{
		{procfs.Lock{Class: "POSIX", Type: "WRITE", PID: 100, Start: 2, End: 4},
			specs.Lock{Class: "posix", File: 9, Table: 5, PID: 7, Exclusive: true, Start: 2, Length: 3}, "an exclusive POSIX lock (bytes 2 to 4)"},
		{procfs.Lock{Class: "POSIX", Type: "READ", PID: 100, Start: 6, End: procfs.LockEOF},
			specs.Lock{Class: "posix", File: 9, Table: 5, PID: 7, Start: 6}, "a shared POSIX lock (bytes 6 to the end)"},
		{procfs.Lock{Class: "OFDLCK", Type: "WRITE", PID: -1, End: procfs.LockEOF - 1},
			specs.Lock{Class: "ofd", File: 9, Exclusive: true, Length: procfs.LockEOF}, "an exclusive OFD lock (bytes 0 to 9223372036854775806)"},
		{procfs.Lock{Class: "FLOCK", Type: "READ", PID: 4711, End: procfs.LockEOF},
			specs.Lock{Class: "flock", File: 9}, "a shared flock(2) lock"},
		{procfs.Lock{Class: "LEASE", Type: "WRITE", PID: 100, End: procfs.LockEOF},
			specs.Lock{Class: "lease", File: 9, PID: 7, Exclusive: true}, "an exclusive lease"},
	} {
		d, f := locked(tt.lock)
		d.noteLocks(f, f)
		f.info.Locks[0].ID = 8 // the same line of another look
		d.noteLocks(f, f)
		if len(d.locks.held) != 1 {
			t.Fatalf("%s: noted %d times", tt.text, len(d.locks.held))
		}
		l := d.locks.held[0]
		if got := d.lockRecord(l); !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("got %+v, want %+v", *got, tt.want)
		}
		if l.String() != tt.text {
			t.Errorf("got %q, want %q", l, tt.text)
		}
	}
}

func TestPOSIXLocksBelongToTheirOwner(t *testing.T) {
	d, f := locked(procfs.Lock{Class: "POSIX", Type: "READ", PID: 100}, procfs.Lock{Class: "FLOCK", Type: "READ", PID: 100})
	d.noteLocks(f, f)
	// Another process with the same description: the flock(2) lock is the same.
	child := &openFile{d: d, proc: &process{pid: 101, nspid: 8}, fd: 3, link: f.link}
	child.info.Locks = []procfs.Lock{{Class: "POSIX", Type: "READ", PID: 101}, {Class: "FLOCK", Type: "READ", PID: 100}}
	d.noteLocks(child, f)
	if n := len(d.locks.held); n != 3 {
		t.Errorf("%d locks, want 3", n)
	}
}

func TestLockRefusals(t *testing.T) {
	posix := procfs.Lock{Class: "POSIX", Mode: "ADVISORY", Type: "WRITE", PID: 100, End: procfs.LockEOF}
	flock := procfs.Lock{Class: "FLOCK", Mode: "ADVISORY", Type: "WRITE", PID: 100}
	lease := procfs.Lock{Class: "LEASE", Mode: "ACTIVE", Type: "WRITE", PID: 100, Minor: 1, Inode: 5}
	for _, tt := range []struct {
		name   string
		lock   procfs.Lock
		change func(d *dump, f *openFile, l *procfs.Lock)
		want   string
	}{
		{"posix", posix, nil, ""},
		{"without the option", posix, func(d *dump, _ *openFile, _ *procfs.Lock) { d.opts.FileLocks = false }, "--file-locks"},
		{"class", posix, func(_ *dump, _ *openFile, l *procfs.Lock) { l.Class = "DELEG" }, "class that is not known (DELEG)"},
		{"stdout", flock, func(_ *dump, f *openFile, _ *procfs.Lock) { f.role = 1 }, ""},
		{"stdout, by somebody who is dead", flock, func(_ *dump, f *openFile, l *procfs.Lock) { f.role, l.PID = 1, 1<<22+1 }, "leads out of the container"},
		{"lease", lease, nil, ""},
		{"lease that is broken", lease, func(_ *dump, _ *openFile, l *procfs.Lock) { l.Mode, l.Type = "BREAKING", "UNLCK" }, "being taken away (BREAKING)"},
		{"lease, deleted", lease, func(_ *dump, f *openFile, _ *procfs.Lock) { f.stat.Nlink = 0 }, "without a name"},
		{"lease, tmpfs", lease, func(_ *dump, f *openFile, _ *procfs.Lock) { f.info.MntID = 4 }, "on a tmpfs"},
		{"shared lease, tmpfs", lease, func(_ *dump, f *openFile, l *procfs.Lock) { f.info.MntID, l.Type = 4, "READ" }, ""},
		{"lease, mapped", lease, func(d *dump, f *openFile, _ *procfs.Lock) {
			d.noteMapped(f.proc, []procfs.VMA{{Minor: 1, Inode: 5}})
		}, "is mapped"},
		{"lease, outside", lease, func(_ *dump, f *openFile, _ *procfs.Lock) { f.info.MntID = 99 }, "without a name"},
	} {
		d, f := locked(tt.lock)
		if tt.change != nil {
			tt.change(d, f, &f.info.Locks[0])
		}
		d.noteLocks(f, f)
		err := d.refuseLock(d.locks.held[0])
		if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestForeignLocks: a lock on stdout by who has started the container is theirs.
func TestForeignLocks(t *testing.T) {
	d, f := locked(procfs.Lock{Class: "FLOCK", Mode: "ADVISORY", Type: "WRITE", PID: os.Getpid()})
	d.noteLocks(f, f)
	if d.foreign(d.locks.held[0]) {
		t.Error("a lock on a file of the container is taken for somebody else's")
	}
	f.role = 1
	if !d.foreign(d.locks.held[0]) {
		t.Error("a lock on stdout of a process outside is taken for the container's")
	}
}
