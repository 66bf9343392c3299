package specs

// FS is struct fs_struct: working directory, root and umask, shared by tasks
// cloned with CLONE_FS. Paths are seen from the container's root.
type FS struct {
	Cwd   string `cbor:"1,keyasint,omitempty"`
	Root  string `cbor:"2,keyasint,omitempty"`
	Umask uint32 `cbor:"3,keyasint,omitempty"`
	// Ghost is the ID of the removed directory that is the working directory.
	Ghost ID `cbor:"4,keyasint,omitempty"`
}

// RecordType implements Record.
func (*FS) RecordType() Type { return TypeFS }

// FDs is a table of file descriptors, shared by tasks cloned with CLONE_FILES.
type FDs struct {
	Entries []FD `cbor:"1,keyasint,omitempty"`
}

// RecordType implements Record.
func (*FDs) RecordType() Type { return TypeFDs }

// FD is one descriptor: a number that leads to an open file description.
type FD struct {
	Number  int32 `cbor:"1,keyasint,omitempty"`
	File    ID    `cbor:"2,keyasint,omitempty"`
	CloExec bool  `cbor:"3,keyasint,omitempty"`
}

// Validate implements Record.
func (f *FS) Validate() error {
	return first(path("working directory", f.Cwd), path("root", f.Root), within("umask", f.Umask, 0, 0o777))
}

// Validate implements Record.
func (f *FDs) Validate() error {
	return first(each("descriptor", f.Entries, func(e *FD) error {
		return first(within("number", e.Number, 0, MaxFD), present("file", e.File))
	}), distinct("descriptor", f.Entries, func(e *FD) int32 { return e.Number }))
}
