package procfs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	shmText = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n" +
		"1380275274          0  3750                 40977 11111 22222      6     0     9  1000  2000 1700000000          0 1700000001                 40960                     0\n" +
		"        -7      32769   444                     1     1     0      0 4294967294     0     0     0          0          0          0                     0                     0\n"
	semText = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n" +
		"2147483647          4     0        250     1     2     3     4          0 1700000000\n"
	msgText = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n" +
		"         0          0   606        9296          6    77     0  1000  2000     0     0 1700000000          0 1700000000\n"
)

func TestParseSysV(t *testing.T) {
	for _, c := range []struct {
		name  string
		parse func([]byte) ([]IPCObject, error)
		text  string
		want  []IPCObject
	}{
		{"shm", ParseSysVShm, shmText, []IPCObject{
			{Key: 1380275274, Mode: 0o750 | IPCDest | IPCLocked, Size: 40977, Attached: 6, GID: 9, CUID: 1000, CGID: 2000},
			{Key: -7, ID: 32769, Mode: 0o444, Size: 1, UID: 4294967294},
		}},
		{"sem", ParseSysVSem, semText, []IPCObject{{Key: 2147483647, ID: 4, Size: 250, UID: 1, GID: 2, CUID: 3, CGID: 4}}},
		{"msg", ParseSysVMsg, msgText, []IPCObject{{Mode: 0o606, Size: 9296, Messages: 6, UID: 1000, GID: 2000}}},
		{"nothing", ParseSysVMsg, "", nil},
		{"none", ParseSysVMsg, "the names of the columns\n", nil},
	} {
		got, err := c.parse([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for _, bad := range []string{"head\n1 2 3\n", "head\nx 0 600 0 0 0 0 0 0 0 0 0 0 0\n", "head\n0 0 900 0 0 0 0 0 0 0 0 0 0 0\n"} {
		if _, err := ParseSysVMsg([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestReadSysV(t *testing.T) {
	if _, _, _, err := ReadSysV(); err != nil {
		t.Error(err)
	}
}

func FuzzParseSysV(f *testing.F) {
	for _, text := range []string{shmText, semText, msgText} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseSysVShm(b)
		_, _ = ParseSysVSem(b)
		_, _ = ParseSysVMsg(b)
	})
}
