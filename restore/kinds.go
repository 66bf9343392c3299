package restore

import (
	"os"
	"reflect"

	"github.com/rethaw/rethaw/specs"
)

// fileKind restores one kind of open file description.
type fileKind struct {
	// record is an example of the record that it restores.
	record specs.File
	// open makes the description, inside the container's namespaces.
	open func(r *restorer, id specs.ID, rec specs.File) (*os.File, error)
	// finish, if not nil, completes it when all descriptions exist (queues with
	// descriptors in flight, peers).
	finish func(r *restorer, id specs.ID, rec specs.File, f *os.File) error
	// late, if not nil, completes it from inside a task that has it as
	// descriptor fd, when all tables are filled (epoll watches).
	late func(r *restorer, t *task, fd int32, rec specs.File) error
	// inTask tells that it can only be made inside a task, by make.
	inTask bool
	make   func(r *restorer, t *task, fd int32, rec specs.File) error
	// detached, if not nil, tells that a record without a descriptor is to be
	// made all the same.
	detached func(rec specs.File) bool
}

// fileKinds is the table of restorers.
func fileKinds() []fileKind {
	return []fileKind{
		requestKind(),
		stdioKind(),
		regularKind(),
		memfdKind(),
		directoryKind(),
		pathKind(),
		terminalKind(),
		deviceKind(),
		procFileKind(),
		pipeKind(),
		fifoKind(),
		eventfdKind(),
		signalfdKind(),
		timerfdKind(),
		epollKind(),
		pidfdKind(),
		inotifyKind(),
		inetSocketKind(),
		unixSocketKind(),
		netlinkSocketKind(),
	}
}

// kindOf finds the handler of a record, nil if none knows it.
func (r *restorer) kindOf(rec specs.File) *fileKind {
	if r.kinds == nil {
		r.kinds = map[reflect.Type]*fileKind{}
		for _, k := range fileKinds() {
			r.kinds[reflect.TypeOf(k.record)] = &k
		}
	}
	return r.kinds[reflect.TypeOf(rec)]
}
