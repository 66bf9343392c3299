package procfs

import (
	"math"
	"strconv"
	"testing"
)

func TestParseNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "-1": -1, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64,
	} {
		if v, ok := parseInt([]byte(text)); !ok || v != want {
			t.Errorf("%s: %d, %v", text, v, ok)
		}
	}
	for _, text := range []string{"", "-", "--1", "+1", "9223372036854775808", "-9223372036854775809", "1a", " 1"} {
		if v, ok := parseInt([]byte(text)); ok {
			t.Errorf("%q accepted: %d", text, v)
		}
	}
}

func FuzzParseUint(f *testing.F) {
	for _, s := range []string{"0", "18446744073709551615", "18446744073709551616", "ffffffffffffffff", "1777777777777777777777", "8"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 0 && s[0] == '+' {
			return
		}
		for _, base := range []int{8, 10, 16} {
			v, ok := parseUint([]byte(s), uint64(base))
			want, err := strconv.ParseUint(s, base, 64)
			if ok != (err == nil) || ok && v != want {
				t.Errorf("%q in base %d: %d, %v; strconv %d, %v", s, base, v, ok, want, err)
			}
		}
	})
}
