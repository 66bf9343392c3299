package procfs

import "testing"

func TestParseSyscall(t *testing.T) {
	for text, want := range map[string]Syscall{
		string(sample(t, "syscall")): {Number: 34, Args: [6]uint64{0, 0, 2, 0x7fb9315eba10, 0, 0x7fff1c201467}, SP: 0x7fff1c201530, PC: 0x7fb9316c1df2},
		"running\n":                  {Running: true, Number: -1},
		"-1 0x7ffc 0x5555\n":         {Number: -1, SP: 0x7ffc, PC: 0x5555},
	} {
		if got, err := ParseSyscall([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "0x1", "34 0x1", "-1 0x1 0x2 0x3", "1 2 3 4 5 6 7 8 9 10", "-1 0x1 0xg"} {
		if got, err := ParseSyscall([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, got)
		}
	}
}

func FuzzParseSyscall(f *testing.F) {
	f.Add(sample(f, "syscall"))
	f.Add([]byte("running"))
	f.Add([]byte("-1 0x1 0x2"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseSyscall(b) })
}
