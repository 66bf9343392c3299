package checkpoint

import (
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// saveUTS saves the names of a container that has a UTS namespace of its own;
// the names of the host are not the container's.
func saveUTS(d *dump) error {
	own, err := d.ownNamespace("uts")
	if err != nil || !own {
		return err
	}
	var name unix.Utsname
	if err := d.inside(func() error { return unix.Uname(&name) }); err != nil {
		return err
	}
	return d.out.Put(0, &specs.UTS{
		Hostname:   unix.ByteSliceToString(name.Nodename[:]),
		Domainname: unix.ByteSliceToString(name.Domainname[:]),
	})
}
