package specs

// Memfd is one open description of a memfd_create(2) file. The descriptions and
// mappings of one file have the same Inode; its contents are in the Shared
// object of that ID.
type Memfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Name        string `cbor:"2,keyasint,omitempty"`
	Seals       uint32 `cbor:"3,keyasint,omitempty"`
	// Object has the contents.
	Object ID     `cbor:"4,keyasint,omitempty"`
	Mode   uint32 `cbor:"5,keyasint,omitempty"`
	UID    uint32 `cbor:"6,keyasint,omitempty"`
	GID    uint32 `cbor:"7,keyasint,omitempty"`
	// HugePage is log2 of the page size of MFD_HUGETLB, 0 without it.
	HugePage uint32 `cbor:"8,keyasint,omitempty"`
	// MemfdFlags are other creation flags that must stand again (MFD_NOEXEC_SEAL).
	MemfdFlags uint32 `cbor:"9,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Memfd) RecordType() Type { return TypeMemfd }
