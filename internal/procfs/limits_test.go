package procfs

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseLimits(t *testing.T) {
	l, err := ParseLimits(sample(t, "limits"))
	if err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[int][2]uint64{
		unix.RLIMIT_CPU:    {1, Unlimited},
		unix.RLIMIT_STACK:  {8388608, Unlimited},
		unix.RLIMIT_CORE:   {0, Unlimited},
		unix.RLIMIT_NPROC:  {96365, 96365},
		unix.RLIMIT_NOFILE: {100, 200},
		12:                 {819200, 819200}, // RLIMIT_MSGQUEUE
		13:                 {0, 0},           // RLIMIT_NICE
		15:                 {Unlimited, Unlimited},
	} {
		if l[limit] != want {
			t.Errorf("%s: got %v, want %v", limitName[limit], l[limit], want)
		}
	}
	good := string(sample(t, "limits"))
	for name, text := range map[string]string{
		"empty":   "",
		"missing": strings.Join(strings.SplitAfter(good, "\n")[:9], ""),
		"unknown": strings.Replace(good, "Max cpu time ", "Max gpu time ", 1),
		"number":  strings.Replace(good, "8388608", "838860x", 1),
		"short":   good + "Max\n",
	} {
		if _, err := ParseLimits([]byte(text)); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
}

func FuzzParseLimits(f *testing.F) {
	f.Add(sample(f, "limits"))
	f.Add(bytes.ReplaceAll(sample(f, "limits"), []byte("unlimited"), []byte("18446744073709551615")))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseLimits(b) })
}
