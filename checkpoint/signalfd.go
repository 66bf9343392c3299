package checkpoint

import "github.com/rethaw/rethaw/specs"

// signalfdKind saves signalfd(2). It has a mask only: what can be read from it
// are the pending signals of whoever reads, which are saved with the tasks.
func signalfdKind() fileKind {
	return fileKind{
		name:   "signalfd",
		is:     anonymous("[signalfd]"),
		refuse: refuseNews,
		save: func(_ *dump, f *openFile, base specs.Description) (specs.File, error) {
			return &specs.Signalfd{Description: base, Mask: f.info.SigMask}, nil
		},
	}
}
