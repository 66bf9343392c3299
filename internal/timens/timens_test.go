package timens

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Offsets
		bad  bool
	}{
		{"monotonic           0         0\nboottime            0         0\n", Offsets{}, false},
		{"monotonic      100000         7\nboottime           -3 999999999\n", Offsets{100000e9 + 7, -2e9 - 1}, false},
		{"1 5 0\n7 6 0\n", Offsets{5e9, 6e9}, false},
		{"", Offsets{}, false},
		{"monotonic 1\n", Offsets{}, true},
		{"monotonic x 0\n", Offsets{}, true},
		{"monotonic 0 x\n", Offsets{}, true},
		{"monotonic 0 1000000000\n", Offsets{}, true},
		{"monotonic 99999999999999 0\n", Offsets{}, true},
	} {
		got, err := Parse([]byte(c.text))
		if got != c.want && !c.bad || (err != nil) != c.bad || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("monotonic      100000         7\nboottime           -3 999999999\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse(o.text())
		if err != nil || again != o {
			t.Errorf("%+v comes back as %+v, %v", o, again, err)
		}
	})
}

func TestWith(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	const hour = int64(time.Hour)
	want := Offsets{Monotonic: 100*hour + 5, Boottime: 200*hour - 1}
	var said strings.Builder
	cmd := exec.Command("cat", "/proc/self/timens_offsets", "/proc/uptime")
	cmd.Stdout = &said
	err := With(want, cmd.Run)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		t.Skipf("no time namespaces here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfterN(said.String(), "\n", 3)
	got, err := Parse([]byte(lines[0] + lines[1]))
	if err != nil || got != want {
		t.Errorf("the program lives in %+v, %v, not %+v", got, err, want)
	}
	if ours, err := Of(os.Getpid()); err != nil || ours == want {
		t.Errorf("so do we: %+v, %v", ours, err)
	}
}
