package procfs

import (
	"slices"
	"testing"
)

func TestParseChildren(t *testing.T) {
	for text, want := range map[string][]int{
		string(sample(t, "children")): {8294, 8295},
		"":                            nil,
		"7":                           {7},
	} {
		if got, err := ParseChildren([]byte(text)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"x", "1 2\n3", "4294967296"} {
		if got, err := ParseChildren([]byte(text)); err == nil {
			t.Errorf("%q accepted: %v", text, got)
		}
	}
}

func FuzzParseChildren(f *testing.F) {
	f.Add(sample(f, "children"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseChildren(b) })
}
