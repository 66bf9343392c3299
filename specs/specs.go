// Package specs holds the record types of a checkpoint image: plain Go structs,
// one file per kernel object, that say what is saved and in which unit. It
// imports the standard library only, so that any program can read an image with
// these types and a CBOR decoder.
//
// A record is identified by its Type, which says what it describes, and its ID,
// by which other records refer to it. A shared kernel object (a file description
// that several descriptor tables hold, an address space of several threads)
// stands once in the image under one ID; whoever shares it names that ID. The ID
// is numbered when the object is first seen and has no other meaning.
//
// Payloads are CBOR maps with integer keys (RFC 8949). A key is never used
// again for another meaning; new fields take new keys and are omitted when zero,
// so that an old image reads as before. SPEC.md draws the layout.
package specs

// ID names one object within an image. 0 means "no object".
type ID uint64

// Type says what a record describes. The numbers are part of the image format:
// they are never reused.
type Type uint32

// Record is one entry of an image.
type Record interface {
	// RecordType tells which type of record this is.
	RecordType() Type
	// Validate says whether the record, for itself, can be one of a checkpoint: its
	// numbers lie within the kernel's bounds, its paths climb nowhere. What
	// records say of each other is not its business. It is quick, and allocates
	// little.
	Validate() error
}
