package plugin

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseStat(t *testing.T) {
	rest := " S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 12345 0 0"
	tests := []struct {
		name, data string
		state      byte
		start      uint64
		bad        bool
	}{
		{"plain", "7 (sh)" + rest, 'S', 12345, false},
		{"parentheses and spaces in the name", "7 (a) b (c)" + rest, 'S', 12345, false},
		{"cut off", "7 (sh) S 1", 0, 0, true},
		{"empty", "", 0, 0, true},
		{"no name", "7 sh S", 0, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			state, start, err := parseStat([]byte(tt.data))
			if state != tt.state || start != tt.start || (err != nil) != tt.bad {
				t.Errorf("got %c %d %v", state, start, err)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("1 () S"))
	f.Fuzz(func(t *testing.T, data []byte) { _, _, _ = parseStat(data) })
}

func TestParseLog(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"nothing", "", ""},
		{"last error", `{"level":"error","msg":"a"}` + "\n" + `{"level":"error","msg":"b"}` + "\n" + `{"level":"info","msg":"c"}`, "b"},
		{"no error", `{"level":"warning","msg":"w"}`, "w"},
		{"crun", `{"msg":"no such thing","level":"error","time":"2026-11-23T15:25:57Z"}`, "no such thing"},
		{"text between", "junk\n" + `{"level":"error","msg":"x"}` + "\njunk", "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseLog([]byte(tt.data)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add([]byte(`{"level":"error","msg":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) { parseLog(data) })
}

func TestParseCrunStatus(t *testing.T) {
	got, err := parseCrunStatus([]byte(`{"pid":11861,"process-start-time":140162,"cgroup-path":"/phc","scope":"",
		"rootfs":"rootfs","systemd-cgroup":false,"bundle":"/tmp/b","external_descriptors":"[\"/dev/null\"]"}`))
	want := crunStatus{Pid: 11861, Start: 140162, Cgroup: "/phc", Rootfs: "/tmp/b/rootfs", Bundle: "/tmp/b", Stdio: `["/dev/null"]`}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "[]", `{"pid":-1}`, `{"pid":"x"}`} {
		if _, err := parseCrunStatus([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a status", bad)
		}
	}
}

func FuzzParseCrunStatus(f *testing.F) {
	f.Add([]byte(`{"pid":1,"rootfs":"r","bundle":"/b"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseCrunStatus(data)
		if err == nil && s.Rootfs != "" && s.Bundle != "" && filepath.IsAbs(s.Bundle) && !filepath.IsAbs(s.Rootfs) {
			t.Errorf("rootfs %q is not absolute", s.Rootfs)
		}
	})
}

func FuzzOneFD(f *testing.F) {
	f.Add([]byte{})
	// A message of another level: what is parsed must never be taken for a number
	// of ours, so rights are not fuzzed.
	f.Add([]byte{16, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 16 && data[8] == 1 {
			t.Skip()
		}
		_, _ = oneFD(data)
	})
}

func TestParseRuncState(t *testing.T) {
	got, err := parseRuncState([]byte(`{"id":"x","init_process_pid":5,"init_process_start":6,"cgroup_paths":{"freezer":"/f"},
		"external_descriptors":["/dev/null"],"config":{"rootfs":"/r","labels":["bundle=/b"],"seccomp":null,"Hooks":{}}}`))
	if err != nil || got.Pid != 5 || got.Start != 6 || got.Cgroups["freezer"] != "/f" || got.Config.Rootfs != "/r" ||
		bundleLabel(got.Config.Labels) != "/b" || len(got.Stdio) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "{}", "[]", `{"id":"x","init_process_pid":-1}`} {
		if _, err := parseRuncState([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a state", bad)
		}
	}
}

func FuzzParseRuncState(f *testing.F) {
	f.Add([]byte(`{"id":"x","init_process_pid":5}`))
	f.Fuzz(func(t *testing.T, data []byte) { _, _ = parseRuncState(data) })
}
