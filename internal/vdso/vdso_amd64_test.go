package vdso

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
)

func own(t testing.TB) []byte {
	t.Helper()
	image, err := Own()
	if err != nil || image == nil {
		t.Skip("no vdso to be seen:", err)
	}
	return image
}

// TestFunctions finds what vdso(7) says an x86-64 vdso has, each at the beginning of code.
func TestFunctions(t *testing.T) {
	image := own(t)
	all, err := functions(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"__vdso_clock_gettime", "__vdso_getcpu", "__vdso_gettimeofday", "__vdso_time"} {
		f, known := all[name]
		if !known || f.offset == 0 || f.size == 0 || bytes.Equal(image[f.offset:f.offset+f.size], make([]byte, f.size)) {
			t.Errorf("%s is %+v", name, f)
		}
	}
}

func TestBridge(t *testing.T) {
	image := own(t)
	const base = 0x7123_4567_8000
	jumps, err := Bridge(image, image, base)
	if err != nil {
		t.Fatal(err)
	}
	all, err := functions(image)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"__vdso_clock_gettime", "__vdso_gettimeofday", "__vdso_time"} {
		i := slices.IndexFunc(jumps, func(j Jump) bool { return j.Offset == all[name].offset })
		if i < 0 {
			t.Errorf("no jump for %s", name)
			continue
		}
		j := jumps[i]
		if len(j.Code) != jumpSize || binary.LittleEndian.Uint64(j.Code[2:]) != base+all[name].offset {
			t.Errorf("%s: % x", name, j.Code)
		}
		if j.Inside(j.Offset) || !j.Inside(j.Offset+1) || !j.Inside(j.Offset+jumpSize-1) || j.Inside(j.Offset+jumpSize) {
			t.Errorf("%s: what is inside the jump is wrong", name)
		}
	}
	seen := map[uint64]bool{}
	for _, j := range jumps {
		if seen[j.Offset] {
			t.Errorf("two jumps at %#x", j.Offset)
		}
		seen[j.Offset] = true
	}
}

// TestBridgeNone refuses what is no vdso.
func TestBridgeNone(t *testing.T) {
	image := own(t)
	for name, bad := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 8192), "a part": image[:512]} {
		if _, err := Bridge(bad, image, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzFunctions: an image may hold anything.
func FuzzFunctions(f *testing.F) {
	image := own(f)
	f.Add(image)
	f.Add(image[:4096])
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := functions(b)
		for _, one := range all {
			if err != nil || one.offset > uint64(len(b)) || one.size > uint64(len(b))-one.offset {
				t.Errorf("%+v of %d bytes: %v", one, len(b), err)
			}
		}
	})
}
