package checkpoint

import (
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// refuseRaw is for raw and ping sockets, whose queue can be looked at only by
// taking from it.
func refuseRaw(_ *dump, s *inetSocket) error {
	if s.poll&unix.POLLIN != 0 {
		return s.f.unsupported("has packets that nobody has read, which the kernel does not show", "have its program read them first")
	}
	return nil
}

func saveRaw(d *dump, s *inetSocket, r *specs.InetSocket) error {
	var err error
	r.Groups, err = d.memberships(s)
	return err
}
