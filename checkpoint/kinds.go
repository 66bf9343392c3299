package checkpoint

import "github.com/rethaw/rethaw/specs"

// fileKind saves one kind of open file description.
type fileKind struct {
	name string
	// is tells whether a file is of this kind, from its link, stat and fdinfo.
	is func(f *openFile) bool
	// refuse says why a file cannot be saved, nil if it can. The preflight calls
	// it while the tasks run. A nil function refuses none.
	refuse func(d *dump, f *openFile) error
	// save makes the record; base is what all kinds have.
	save func(d *dump, f *openFile, base specs.Description) (specs.File, error)
	// complete, if not nil, is called when all descriptions have been found and
	// saved, those in flight too: it may complete f.record, or refuse the file.
	complete func(d *dump, f *openFile) error
}

// fileKinds is the table of savers, asked in this order.
func fileKinds() []fileKind {
	return []fileKind{
		requestKind(),
		stdioKind(),
		pathKind(),
		terminalKind(),
		directoryKind(),
		deviceKind(),
		procFileKind(),
		memfdKind(),
		secretKind(),
		mqueueKind(),
		regularKind(),
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

// kindOf finds the handler of a file, nil if none knows it.
func kindOf(f *openFile) *fileKind {
	if f.d.kinds == nil {
		f.d.kinds = fileKinds()
	}
	for i := range f.d.kinds {
		if k := &f.d.kinds[i]; k.is(f) {
			return k
		}
	}
	return nil
}
