package tty

import (
	"bytes"
	"testing"
)

// FuzzSplit cuts any state of a line discipline into lines: together they are what
// waits, less the marks of ends of files.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("one\ntwo\x00three"), []byte{0x88}, uint64(0), uint16(8), uint16(13))
	f.Add([]byte{}, []byte{}, uint64(4090), uint16(0), uint16(4096))
	f.Fuzz(func(t *testing.T, data, ends []byte, tail uint64, canon, size uint16) {
		b := buffer{data: make([]byte, bufferSize), ends: make([]byte, bufferSize/8), tail: tail}
		copy(b.data, data)
		copy(b.ends, ends)
		b.head = tail + uint64(size)%(bufferSize+1)
		b.canon = tail + min(uint64(canon), b.head-tail)
		lines, rest := b.split()
		got := append(bytes.Join(lines, nil), rest...)
		if want := b.bytes(b.tail, b.head); len(got) > len(want) || len(got)+len(lines) < len(want) {
			t.Fatalf("%d bytes in %d lines and %d of %d", len(got), len(lines), len(rest), len(want))
		}
	})
}
