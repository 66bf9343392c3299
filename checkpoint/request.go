package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// requestKind saves connections on which a program of the container waits for who takes
// this checkpoint to answer it. They lead outside, as nothing else may.
func requestKind() fileKind {
	return fileKind{
		name: "request to rethaw",
		is:   isRequest,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			info, err := d.sockets.find(d, f.stat.Ino)
			if err != nil {
				return nil, err
			}
			if info == nil {
				return nil, fmt.Errorf("sock_diag does not know socket %d", f.stat.Ino)
			}
			r := &specs.Request{Description: base, Shutdown: int32(info.Shutdown)}
			r.Options, err = socketOptions(int(own.Fd()))
			return r, err
		},
	}
}

// isRequest tells whether the other end of a socket, or the socket that is to accept it, is
// one at which we answer.
func isRequest(f *openFile) bool {
	answers := f.d.opts.Answers
	if answers == nil || f.stat.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return false
	}
	if family, err := socketFamily(f); err != nil || family != unix.AF_UNIX {
		return false
	}
	info, err := f.d.sockets.find(f.d, f.stat.Ino)
	if err != nil || info == nil || !info.HasPeer {
		return false
	}
	return info.Peer != 0 && answers(info.Peer) || answers(f.d.sockets.waitsAt(f.stat.Ino))
}
