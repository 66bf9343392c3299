package procfs

import (
	"reflect"
	"testing"
)

func TestParseCgroup(t *testing.T) {
	got, err := ParseCgroup(sample(t, "cgroup"))
	if err != nil || len(got) != 9 {
		t.Fatalf("%+v, %v", got, err)
	}
	for i, want := range map[int]Cgroup{
		0: {Hierarchy: 9, Controllers: []string{"name=systemd"}, Path: "/"},
		1: {Hierarchy: 2, Controllers: []string{"cpu", "cpuacct"}, Path: "/"},
		6: {Hierarchy: 4, Controllers: []string{"memory"}, Path: "/system.slice/web (1):a.service"},
		7: {Hierarchy: 3, Controllers: []string{"cpuset"}, Path: "/"},
		8: {Path: "/"},
	} {
		if !reflect.DeepEqual(got[i], want) {
			t.Errorf("line %d: got %+v, want %+v", i+1, got[i], want)
		}
	}
	for text, want := range map[string]Cgroup{
		"0::/../x (deleted)\n": {Path: "/../x", Deleted: true},
		"2:cpu,cpuacct:/a":     {Hierarchy: 2, Controllers: []string{"cpu", "cpuacct"}, Path: "/a"},
	} {
		if got, err := ParseCgroup([]byte(text)); err != nil || !reflect.DeepEqual(got, []Cgroup{want}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"\n", "0:/", "x::/", "-1::/", "0::a"} {
		if got, err := ParseCgroup([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, got)
		}
	}
}

func FuzzParseCgroup(f *testing.F) {
	f.Add(sample(f, "cgroup"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseCgroup(b) })
}
