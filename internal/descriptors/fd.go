package descriptors

import (
	"os"

	"golang.org/x/sys/unix"
)

// FD is a descriptor of ours that is asked and never read. An os.File of one whose description has O_NONBLOCK would be
// made known to the runtime's poller, and taken away from it again: two system calls more for each.
type FD struct {
	number uintptr
	file   *os.File
}

// NewFD owns a descriptor.
func NewFD(number int) *FD { return &FD{number: uintptr(number)} }

// Fd is its number.
func (f *FD) Fd() uintptr { return f.number }

// File is an os.File of the same descriptor, for what asks for one. It is closed with the FD, and not by the caller.
func (f *FD) File(name string) *os.File {
	if f.file == nil {
		f.file = os.NewFile(f.number, name)
	}
	return f.file
}

// Close closes the descriptor.
func (f *FD) Close() error {
	if f.file != nil {
		return f.file.Close()
	}
	return unix.Close(int(f.number))
}
