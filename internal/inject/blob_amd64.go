package inject

import (
	"bytes"
	"unsafe"
)

func blobStart() uintptr

// codeEnd marks the end of machine code that is copied elsewhere: ud2 and a name.
var codeEnd = []byte{0x0f, 0x0b, 'R', 'E', 'T', 'H', 'A', 'W'}

// blobCode is the machine code that runs in the task.
func blobCode() []byte { return Code(blobStart()) }

// Code is the machine code of this program that begins at start and ends with ud2 and "RETHAW": position
// independent, to be copied to where it runs. It is shared, and must not be changed.
func Code(start uintptr) []byte {
	// The address is that of code in this binary's text, which never moves.
	window := unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&start))), 1024)
	n := bytes.Index(window, codeEnd)
	return window[:n+len(codeEnd)]
}
