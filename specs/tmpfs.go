package specs

// Tmpfs is one tmpfs mount of the container with its contents.
type Tmpfs struct {
	// Point is the mount point seen from the container's root.
	Point string `cbor:"1,keyasint,omitempty"`
	// Archive is the name of the file in the image directory that has the
	// contents, a tar with PAX records. Names in it begin with Point.
	Archive string `cbor:"2,keyasint,omitempty"`
	// Options are the mount's and the filesystem's as mountinfo shows them,
	// separated by commas, for a mount made after the start.
	Options string `cbor:"3,keyasint,omitempty"`
	// Bytes is the length of this mount's part of the archive, Entries how many
	// it has.
	Bytes   int64 `cbor:"4,keyasint,omitempty"`
	Entries int64 `cbor:"5,keyasint,omitempty"`
	// Offset is where the part begins, in bytes.
	Offset int64 `cbor:"6,keyasint,omitempty"`
	// Source is what the mount shows as its device.
	Source string `cbor:"7,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Tmpfs) RecordType() Type { return TypeTmpfs }

// Validate implements Record.
func (t *Tmpfs) Validate() error {
	return first(path("mount point", t.Point), text("options", t.Options, MaxPath), text("source", t.Source, MaxPath),
		within("size", t.Bytes, 0, MaxObject), within("number of entries", t.Entries, 0, MaxObject), within("offset", t.Offset, 0, MaxObject))
}
