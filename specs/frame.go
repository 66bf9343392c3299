package specs

// Names of the files of an image directory; SPEC.md draws what stands in them.
const (
	// ImageFile holds the records. It is the only file whose name is fixed; it
	// lists all others.
	ImageFile = "image.rt"
	// SealedFile is the one file of an encrypted image: all others in one stream.
	SealedFile = "image.age"
	// PagesPrefix and PagesSuffix stand around the number of a pages file,
	// counted from 1, which extents name.
	PagesPrefix = "pages-"
	PagesSuffix = ".rp"
	// PartialSuffix ends the name of a directory that is being written. Such a
	// directory is not an image, whatever it holds.
	PartialSuffix = ".partial"
	// MaxName bounds the name of a file of the image, in bytes.
	MaxName = 64
)

// The prologue is the first 16 bytes of ImageFile: Magic, the major and the minor
// version (u16 each) and four bytes of zero. Numbers are little-endian here and
// in all that follows.
const (
	// Magic begins ImageFile. The high bit, the line ending and the end-of-file
	// character show a transfer that took the file for text (RFC 2083, 3.1 has
	// the idea).
	Magic = "\x89RTHW\r\n\x1a"
	// FormatMinor is the minor version: a newer one only adds types and keys,
	// and an image that uses none of them is read all the same.
	FormatMinor = 0
	// PrologueSize is in bytes.
	PrologueSize = 16
)

// A record is a frame of RecordHeaderSize bytes - type u32, flags u32, length of
// the payload u64, object u64 -, the payload, zeros, and the CRC32C (RFC 3720,
// B.4) of all that in the last four bytes; its size is a multiple of
// RecordAlign. No flag is defined so far, so a reader refuses any.
const (
	// RecordHeaderSize is in bytes.
	RecordHeaderSize = 24
	// RecordAlign is in bytes: every record begins at a multiple of it.
	RecordAlign = 8
	// RecordSumSize is the size of the CRC32C in bytes.
	RecordSumSize = 4
	// MaxPayload bounds the payload of one record, in bytes.
	MaxPayload = 1 << 30
)

// Types of the records that frame an image: they close ImageFile, in this order,
// and are not among Types.
const (
	// TypeMembers has the payload Members.
	TypeMembers Type = 2
	// TypeIndex has one entry of IndexEntrySize bytes for each record before
	// it: type u32, flags u32, object u64, offset u64, length of the payload u64.
	TypeIndex Type = 3
	// TypeDigest ends the file. Its payload of DigestSize bytes is the offset of
	// the index u64, the size of ImageFile u64 and the SHA-256 of all bytes
	// before this record.
	TypeDigest Type = 4
)

// Sizes of the framing payloads in bytes.
const (
	IndexEntrySize = 32
	DigestSize     = 48
)

// Members lists the files that stand beside ImageFile.
type Members struct {
	Files []Member `cbor:"1,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Members) RecordType() Type { return TypeMembers }

// Member is one file of the image.
type Member struct {
	Name string `cbor:"1,keyasint,omitempty"`
	// Size is in bytes.
	Size int64 `cbor:"2,keyasint,omitempty"`
	// Sum is the XXH3 of 128 bits over the whole file, the high half first,
	// each half big-endian (the canonical form of XXH128).
	Sum []byte `cbor:"3,keyasint,omitempty"`
}

// Validate implements Record. What files there are is checked where they are.
func (*Members) Validate() error { return nil }
