package checkpoint

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// anonymous gives a test for files of the kernel's anonymous inode
// (fs/anon_inodes.c) of one name: they all have one inode, only the link tells
// what they are.
func anonymous(name string) func(f *openFile) bool {
	return func(f *openFile) bool { return f.link == "anon_inode:"+name }
}

// refuseNews refuses a file whose fdinfo tells what this version does not know:
// a newer kernel's state of the object would be lost.
func refuseNews(_ *dump, f *openFile) error {
	unknown := f.info.Unknown()
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return f.unsupported("has state of a newer kernel ("+strings.Join(unknown, ", ")+")", "update rethaw, or close the file before the checkpoint")
}

// ready tells which of the events a poll(2) of the description reports now.
func ready(fd uintptr, events int16) (int16, error) {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(p, 0)
		if err != unix.EINTR {
			return p[0].Revents, err
		}
	}
}
