package procfs

import (
	"bytes"
	"math"
)

// nextLine splits the first line, without its line feed, from b.
func nextLine(b []byte) (line, rest []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// nextField skips blanks and splits the first word, which ends before the next
// blank, from b. The field is empty at the end of b.
func nextField(b []byte) (field, rest []byte) {
	b = trimLeft(b)
	for i, c := range b {
		if c == ' ' || c == '\t' {
			return b[:i], b[i:]
		}
	}
	return b, nil
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

func trim(b []byte) []byte {
	b = trimLeft(b)
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// parseUint reads all of b as a number without sign or prefix in base 8, 10 or
// 16. It is here, instead of strconv.ParseUint, because the files of a large
// address space have millions of numbers and are read while tasks are stopped.
func parseUint(b []byte, base uint64) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		var d uint64
		switch {
		case '0' <= c && c <= '9':
			d = uint64(c - '0')
		case 'a' <= c && c <= 'f':
			d = uint64(c-'a') + 10
		case 'A' <= c && c <= 'F':
			d = uint64(c-'A') + 10
		default:
			return 0, false
		}
		if d >= base || v > (math.MaxUint64-d)/base {
			return 0, false
		}
		v = v*base + d
	}
	return v, true
}

// parseInt reads all of b as a decimal number with an optional minus sign.
func parseInt(b []byte) (int64, bool) {
	if len(b) > 1 && b[0] == '-' {
		v, ok := parseUint(b[1:], 10)
		if !ok || v > 1<<63 {
			return 0, false
		}
		return -int64(v), true // -(1<<63) wraps to itself, as it should
	}
	v, ok := parseUint(b, 10)
	if !ok || v > math.MaxInt64 {
		return 0, false
	}
	return int64(v), true
}

// parsePID reads a number of the width of pid_t, fd or int, -1 included.
func parsePID(b []byte) (int, bool) {
	v, ok := parseInt(b)
	if !ok || v < math.MinInt32 || v > math.MaxInt32 {
		return 0, false
	}
	return int(v), true
}

// parsePIDs reads words as parsePID does.
func parsePIDs(b []byte) ([]int, bool) {
	var out []int
	for {
		var f []byte
		if f, b = nextField(b); len(f) == 0 {
			return out, true
		}
		v, ok := parsePID(f)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
}

// parseHex reads a hexadecimal number with or without 0x.
func parseHex(b []byte) (uint64, bool) {
	return parseUint(bytes.TrimPrefix(b, []byte("0x")), 16)
}

// parseKB reads "N kB" and gives bytes.
func parseKB(b []byte) (uint64, bool) {
	n, unit := nextField(b)
	v, ok := parseUint(n, 10)
	if !ok || v > math.MaxUint64>>10 || string(trim(unit)) != "kB" {
		return 0, false
	}
	return v << 10, true
}
