package specs

// Memfd is one open description of a memfd_create(2) file. The descriptions and
// mappings of one file name the same Shared object, which has its contents, name
// and seals.
type Memfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Object      ID `cbor:"4,keyasint,omitempty"`
	// Original tells that the description may be the one that memfd_create(2)
	// made, which does not count as a writer of the file (execve(2), ETXTBSY).
	Original bool `cbor:"10,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Memfd) RecordType() Type { return TypeMemfd }

// Validate implements Record.
func (m *Memfd) Validate() error { return first(m.Description.validate(), present("object", m.Object)) }
