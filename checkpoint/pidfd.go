package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
)

// pidfdKind saves pidfd_open(2) descriptors of tasks of the tree.
func pidfdKind() fileKind {
	return fileKind{
		name:   "pidfd",
		is:     anonymous("[pidfd]"),
		refuse: refusePidfd,
		save: func(d *dump, f *openFile, base specs.Description) (specs.File, error) {
			p := &specs.Pidfd{Description: base}
			if f.info.Pid <= 0 {
				return p, nil
			}
			inner, ok := d.innerTask(f.info.Pid)
			if !ok {
				return nil, f.outsider()
			}
			p.PID = int32(inner)
			return p, nil
		},
	}
}

func refusePidfd(d *dump, f *openFile) error {
	if f.flight {
		return f.unsupported("is a pidfd that no task has", "let the program receive it before the checkpoint")
	}
	if f.info.Pid > 0 && d.out != nil {
		if _, ok := d.innerTask(f.info.Pid); !ok {
			return f.outsider()
		}
	}
	return refuseNews(d, f)
}

// outsider refuses a pidfd of a process that is not in the tree.
func (f *openFile) outsider() error {
	return f.unsupported(fmt.Sprintf("is of process %d outside the container", f.info.Pid), "close it before the checkpoint")
}

// innerTask turns a host's number of a task or thread into the tree's; false if
// it is not in the tree.
func (d *dump) innerTask(host int) (int, bool) {
	for _, p := range d.procs {
		if p.pid == host {
			return p.nspid, true
		}
		for _, th := range p.threads {
			if th.tid == host {
				return th.nstid, true
			}
		}
	}
	return 0, false
}
