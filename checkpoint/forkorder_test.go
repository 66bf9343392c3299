package checkpoint

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

func TestForkOrder(t *testing.T) {
	// A process: its number, its parent's, its session.
	type row [3]int
	for name, c := range map[string]struct {
		rows []row
		want []int
	}{
		"from the root down":    {[]row{{1, 0, 1}, {2, 1, 1}, {3, 1, 1}, {4, 2, 1}, {5, 3, 1}}, []int{1, 2, 4, 3, 5}},
		"entered by exec":       {[]row{{1, 0, 1}, {9, 0, 0}, {10, 9, 10}, {2, 1, 1}}, []int{1, 2, 9, 10}},
		"a dead leader's":       {[]row{{1, 0, 1}, {4, 1, 3}, {5, 1, 5}, {6, 1, 3}}, []int{1, 4, 6, 5}},
		"a living leader's":     {[]row{{1, 0, 1}, {3, 1, 3}, {4, 1, 4}, {6, 1, 3}}, []int{1, 3, 6, 4}},
		"the former session's":  {[]row{{1, 0, 1}, {2, 1, 2}, {3, 2, 2}, {4, 2, 1}}, []int{1, 2, 4, 3}},
		"leaders of each other": {[]row{{1, 0, 1}, {2, 1, 3}, {3, 1, 2}}, []int{1, 2, 3}},
	} {
		d := &dump{target: &Target{Init: 1}}
		for _, r := range c.rows {
			p := &process{pid: r[0], nspid: r[0], record: &specs.Task{PID: int32(r[0]), SID: int32(r[2])}}
			p.stat.PPID = r[1]
			d.procs = append(d.procs, p)
		}
		d.link()
		var got []int
		for _, p := range d.forkOrder() {
			got = append(got, p.pid)
		}
		if name == "leaders of each other" {
			slices.Sort(got)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestKeepAtime: a look at a link leaves its access time.
func TestKeepAtime(t *testing.T) {
	name := t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(name, "link")); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	const past = 1_500_000_000_000_000_007
	for _, atime := range []int64{past, past + 1} {
		if err := keepAtime(dir, "link", atime); err != nil {
			t.Fatal(err)
		}
		var stat unix.Stat_t
		if err := unix.Lstat(filepath.Join(name, "link"), &stat); err != nil || stat.Atim.Nano() != atime {
			t.Errorf("%d, want %d: %v", stat.Atim.Nano(), atime, err)
		}
		if stat.Mtim.Nano() <= past+1 {
			t.Errorf("the modification time was set to %d", stat.Mtim.Nano())
		}
	}
}
