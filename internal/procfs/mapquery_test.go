package procfs

import (
	"os"
	"testing"
)

// TestAreaAt asks for each of our own areas, by both ways.
func TestAreaAt(t *testing.T) {
	areas, err := ReadMaps(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	special := 0
	for _, v := range areas {
		if v.Path == "" || v.Path[0] != '[' || v.Path == "[vsyscall]" { // that is no area of the process
			continue // Go's own come and go
		}
		special++
		for _, at := range []uint64{v.Start, v.End - 1} {
			if v.Path == "[heap]" || v.Path == "[stack]" {
				at = v.End - 1 // they grow
			}
			for name, ask := range map[string]func(int, uint64) (string, error){"query": AreaAt, "maps": areaAt} {
				if got, err := ask(os.Getpid(), at); err != nil || got != v.Path {
					t.Errorf("%s: at %#x is %q, not %q: %v", name, at, got, v.Path, err)
				}
			}
		}
	}
	if special == 0 {
		t.Fatal("no areas with names in brackets")
	}
	if got, err := AreaAt(os.Getpid(), 4096); err != nil || got != "" {
		t.Errorf("at 4096 is %q: %v", got, err)
	}
	if _, err := AreaAt(1<<30, 4096); !Gone(err) {
		t.Errorf("of nobody: %v", err)
	}
}
