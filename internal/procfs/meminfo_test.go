package procfs

import "testing"

func TestParseMeminfo(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Meminfo
		bad  bool
	}{
		"usual":       {"MemTotal:       24000000 kB\nMemAvailable:   20000 kB\nSwapFree:  3 kB\nHugePages_Total:       0\n", Meminfo{20000 << 10, 3 << 10}, false},
		"no swap":     {"MemAvailable: 1 kB\n", Meminfo{Available: 1 << 10}, false},
		"empty line":  {"\nMemAvailable: 1 kB\n", Meminfo{Available: 1 << 10}, false},
		"nothing":     {"", Meminfo{}, true},
		"other unit":  {"MemAvailable: 1 MB\n", Meminfo{}, true},
		"no unit":     {"MemAvailable: 1\n", Meminfo{}, true},
		"no number":   {"MemAvailable: x kB\n", Meminfo{}, true},
		"negative":    {"MemAvailable: -1 kB\n", Meminfo{}, true},
		"beyond 2^64": {"MemAvailable: 18014398509481984 kB\n", Meminfo{}, true},
	} {
		got, err := ParseMeminfo([]byte(c.text))
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if m, err := ReadMeminfo(); err != nil || m.Available == 0 {
		t.Errorf("this machine's: %+v, %v", m, err)
	}
}

func FuzzParseMeminfo(f *testing.F) {
	f.Add([]byte("MemAvailable:   20000 kB\nSwapFree:  3 kB\n"))
	f.Add([]byte("MemAvailable: x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseMeminfo(b); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
	})
}
