package checkpoint

import (
	"errors"
	"unsafe"

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
	if d.uts == nil {
		return errors.New("the container's first task did not tell its host name")
	}
	return d.out.Put(0, d.uts)
}

// askUTS has a task tell its host name: who is not in the namespace would have to join it.
func (d *dump) askUTS(q *inquiry) {
	const size = int(unsafe.Sizeof(unix.Utsname{}))
	q.ask(size, func(ret int64, b []byte) {
		if ret != 0 {
			return
		}
		var name unix.Utsname
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&name)), size), b)
		d.uts = &specs.UTS{
			Hostname:   unix.ByteSliceToString(name.Nodename[:]),
			Domainname: unix.ByteSliceToString(name.Domainname[:]),
		}
	}, unix.SYS_UNAME, out)
}
