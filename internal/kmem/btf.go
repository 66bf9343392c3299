package kmem

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// types is a kernel's type information (Documentation/bpf/btf.rst).
type types struct {
	raw     []byte // the section of types
	strings []byte
	// at are the offsets of the types in raw, by number less one.
	at []uint32
}

// Kinds of types; those that are not named here have no members.
const (
	kindInt      = 1
	kindArray    = 3
	kindStruct   = 4
	kindUnion    = 5
	kindEnum     = 6
	kindTypedef  = 8
	kindConst    = 10
	kindRestrict = 11
	kindProto    = 13
	kindVar      = 14
	kindDatasec  = 15
	kindDeclTag  = 17
	kindTypeTag  = 18
	kindEnum64   = 19
	kindMax      = 19

	btfMagic = 0xeb9f
	headSize = 12 // of struct btf_type
)

var errBTF = errors.New("type information is damaged")

// parseTypes reads a BTF file.
func parseTypes(b []byte) (*types, error) {
	e := binary.NativeEndian
	if len(b) < 24 || e.Uint16(b) != btfMagic {
		return nil, errBTF
	}
	head := uint64(e.Uint32(b[4:]))
	section := func(off, size uint32) ([]byte, error) {
		from, to := head+uint64(off), head+uint64(off)+uint64(size)
		if to > uint64(len(b)) {
			return nil, errBTF
		}
		return b[from:to], nil
	}
	var t types
	var err error
	if t.raw, err = section(e.Uint32(b[8:]), e.Uint32(b[12:])); err != nil {
		return nil, err
	}
	if t.strings, err = section(e.Uint32(b[16:]), e.Uint32(b[20:])); err != nil {
		return nil, err
	}
	for at := 0; at < len(t.raw); {
		if at+headSize > len(t.raw) {
			return nil, errBTF
		}
		t.at = append(t.at, uint32(at))
		kind, count := kindOf(t.raw[at:])
		if kind == 0 || kind > kindMax {
			return nil, fmt.Errorf("%w: kind %d", errBTF, kind)
		}
		at += headSize + tailSize(kind, count)
		if at > len(t.raw) {
			return nil, errBTF
		}
	}
	return &t, nil
}

func kindOf(b []byte) (kind, count int) {
	info := binary.NativeEndian.Uint32(b[4:])
	return int(info >> 24 & 0x1f), int(info & 0xffff)
}

// tailSize is what follows the head of a type.
func tailSize(kind, count int) int {
	switch kind {
	case kindInt, kindVar, kindDeclTag:
		return 4
	case kindArray:
		return 12
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		return 12 * count
	case kindEnum, kindProto:
		return 8 * count
	}
	return 0
}

func (t *types) name(off uint32) string {
	if int(off) >= len(t.strings) {
		return ""
	}
	name, _, _ := bytes.Cut(t.strings[off:], []byte{0})
	return string(name)
}

// typ gives the bytes of a type, nil if there is none with that number.
func (t *types) typ(id uint32) []byte {
	if id == 0 || int(id) > len(t.at) {
		return nil
	}
	return t.raw[t.at[id-1]:]
}

// Struct finds a structure by its name: its number and size.
func (t *types) Struct(name string) (uint32, int, error) {
	e := binary.NativeEndian
	for i, at := range t.at {
		b := t.raw[at:]
		if kind, count := kindOf(b); kind == kindStruct && count > 0 && t.name(e.Uint32(b)) == name {
			return uint32(i + 1), int(e.Uint32(b[8:])), nil
		}
	}
	return 0, 0, fmt.Errorf("this kernel has no struct %s", name)
}

// depth limits how deep structures without a name are looked into.
const depth = 8

// Offset finds a member of a structure, in bytes; those of members without a name
// count as the structure's own. "outer.inner" is a member of a member.
func (t *types) Offset(id uint32, member string) (int, bool) { return t.offset(id, member, depth) }

func (t *types) offset(id uint32, member string, left int) (int, bool) {
	e := binary.NativeEndian
	b := t.plain(id)
	if b == nil || left == 0 {
		return 0, false
	}
	kind, count := kindOf(b)
	if kind != kindStruct && kind != kindUnion {
		return 0, false
	}
	bitfields := e.Uint32(b[4:])>>31 != 0
	member, inner, nested := strings.Cut(member, ".")
	for i := range count {
		m := b[headSize+12*i:]
		off := e.Uint32(m[8:])
		if bitfields {
			off &= 0xffffff
		}
		switch name := t.name(e.Uint32(m)); name {
		case member:
			if !nested {
				return int(off / 8), true
			}
			at, ok := t.offset(e.Uint32(m[4:]), inner, left-1)
			return int(off/8) + at, ok
		case "":
			whole := member
			if nested {
				whole += "." + inner
			}
			if at, ok := t.offset(e.Uint32(m[4:]), whole, left-1); ok {
				return int(off/8) + at, true
			}
		}
	}
	return 0, false
}

// plain goes through typedefs and qualifiers.
func (t *types) plain(id uint32) []byte {
	for range depth {
		b := t.typ(id)
		if b == nil {
			return nil
		}
		kind, _ := kindOf(b)
		if kind != kindTypedef && kind != kindTypeTag && (kind < kindTypedef+1 || kind > kindRestrict) {
			return b
		}
		id = binary.NativeEndian.Uint32(b[8:])
	}
	return nil
}
