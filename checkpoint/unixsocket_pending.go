package checkpoint

import (
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// savePendingState fills in what was sent over the connection that waits at
// place i of listening socket f, and by whom.
func (d *dump) savePendingState(f *openFile, i int, client *openFile, e *specs.UnixSocket) error {
	if client == nil {
		return f.unsupported("a connection waits to be accepted whose client has closed it", "let the program accept the connection first")
	}
	own, err := client.dup()
	if err != nil {
		return err
	}
	sent, err := unix.IoctlGetInt(int(own.Fd()), unix.SIOCOUTQ)
	if err != nil {
		return os.NewSyscallError("ioctl(SIOCOUTQ)", err)
	}
	if sent > 0 {
		return f.unsupported("a connection waits to be accepted over which data was sent", "let the program accept the connection first")
	}
	e.HasPeerCred, e.PeerPID = true, int32(client.proc.nspid)
	e.PeerUID, e.PeerGID = client.proc.status.Uid[1], client.proc.status.Gid[1]
	return nil
}
