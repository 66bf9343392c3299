package checkpoint

import (
	"os"
	"sync"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/kmem"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/internal/xstate"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// dump is one checkpoint under way.
type dump struct {
	target *Target
	opts   *Options
	log    *logrus.Entry
	// image is begun before out is it.
	image  *soon[*image.Writer]
	out    *image.Writer
	frozen frozen
	procs  []*process
	stats  Stats
	facts  facts
	// components are those of the processor's extended state.
	components *soon[[]xstate.Component]
	// listed are the processes that the preflight found, exposed tells whether they have sockets.
	listed  listing
	exposed bool
	// stopped is the time of the stop.
	stopped moment
	// root is the root directory of the tree's first task, mounts the ids of the
	// mounts that are inside.
	root   *os.File
	mounts mounts
	files  files
	locks  locks
	// kinds are the savers of files.
	kinds []fileKind
	// ptys are the terminals by their number.
	ptys   map[int32]*pty
	shared sharedObjects
	sysv   sysv
	inner  inner
	uts    *specs.UTS
	// cgroup is what /proc tells of the cgroups of the first process.
	cgroup []byte
	// sighands are the processes by their signal handlers.
	sighands *kin
	// tmpfs are the contents of tmpfs mounts, removal what is left of an old image; nil until it is begun.
	tmpfs, removal *soon[struct{}]
	// hostMounts are the mount points of the host by the filesystems' devices.
	hostMounts map[[2]int][]string
	// homes are the namespaces of the task that all others are compared with, by their kinds.
	homes map[string]string
	// spaces are the records of address spaces.
	spaces map[specs.ID]*specs.Memory
	data   *dataWriter
	inet   inetSockets
	// sockets are the unix sockets of the machine, injector asks stopped threads.
	sockets  unixSockets
	injector *inject.Injector
	// kernel reads the kernel's memory, which is opened by the preflight: while the tasks stand still there is no
	// time for it.
	kernel *soon[*kmem.Reader]
	unseen unseen
	// dog undoes what would outlive us.
	dog *watchdog.Dog

	mu     sync.Mutex
	lastID specs.ID
	// reached tells of paths that have been looked at since the stop.
	reached map[reach]bool
}

// newID numbers an object.
func (d *dump) newID() specs.ID {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lastID++
	return d.lastID
}

// live are the processes that are not zombies.
func (d *dump) live() []*process {
	var live []*process
	for _, p := range d.procs {
		if !p.zombie {
			live = append(live, p)
		}
	}
	return live
}

// monotonic reads CLOCK_MONOTONIC in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

func (d *dump) close() {
	for _, p := range d.procs {
		p.close()
	}
	_ = d.dog.Close()
	d.files.close()
	if d.kernel != nil {
		if k, err := d.kernel.get(); err == nil {
			k.Close()
		}
	}
	d.inner.close()
	d.data.close()
	d.inet.close()
	if d.root != nil {
		d.root.Close()
	}
}
