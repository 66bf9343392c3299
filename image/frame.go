package image

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/rethaw/rethaw/specs"
)

// castagnoli makes the table of CRC32C; the standard library builds it once and
// uses the processor's instruction where there is one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// entry is one record as the index has it.
type entry struct {
	kind   specs.Type
	flags  uint32
	id     specs.ID
	offset int64
	length int64
}

// frameSize is the size in bytes of a record with a payload of length bytes.
func frameSize(length int64) int64 {
	const align = specs.RecordAlign
	return specs.RecordHeaderSize + (length+specs.RecordSumSize+align-1)/align*align
}

// appendPrologue appends the first bytes of image.rt.
func appendPrologue(b []byte) []byte {
	b = append(b, specs.Magic...)
	b = binary.LittleEndian.AppendUint16(b, specs.FormatVersion)
	b = binary.LittleEndian.AppendUint16(b, specs.FormatMinor)
	return binary.LittleEndian.AppendUint32(b, 0)
}

// appendRecord appends a whole record.
func appendRecord(b []byte, kind specs.Type, id specs.ID, payload []byte) []byte {
	begin := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(kind))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, uint64(id))
	b = append(b, payload...)
	end := begin + int(frameSize(int64(len(payload)))) - specs.RecordSumSize
	for len(b) < end {
		b = append(b, 0)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli()))
}

// parseRecordHeader reads the first RecordHeaderSize bytes of a record. The
// length is unchecked.
func parseRecordHeader(b []byte) (e entry, length uint64) {
	e.kind = specs.Type(binary.LittleEndian.Uint32(b))
	e.flags = binary.LittleEndian.Uint32(b[4:])
	e.id = specs.ID(binary.LittleEndian.Uint64(b[16:]))
	return e, binary.LittleEndian.Uint64(b[8:])
}

// appendIndexEntry appends e as it stands in the index.
func appendIndexEntry(b []byte, e entry) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(e.kind))
	b = binary.LittleEndian.AppendUint32(b, e.flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.id))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.offset))
	return binary.LittleEndian.AppendUint64(b, uint64(e.length))
}

// appendIndex appends the payload of the index.
func appendIndex(b []byte, entries []entry) []byte {
	for _, e := range entries {
		b = appendIndexEntry(b, e)
	}
	return b
}

// digest is the payload of the last record.
type digest struct {
	index uint64
	size  uint64
	sum   [32]byte
}

// append appends the payload.
func (d *digest) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, d.index)
	b = binary.LittleEndian.AppendUint64(b, d.size)
	return append(b, d.sum[:]...)
}

// parseDigest reads a payload of DigestSize bytes.
func parseDigest(b []byte) (d digest) {
	d.index = binary.LittleEndian.Uint64(b)
	d.size = binary.LittleEndian.Uint64(b[8:])
	copy(d.sum[:], b[16:])
	return d
}
