package kmem

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Field is where a member of a structure is.
type Field struct{ Offset, Size uint32 }

// Size gives the size of a structure in bytes.
func (r *Reader) Size(structure string) (uint32, error) {
	var s *btf.Struct
	if err := r.spec.TypeByName(structure, &s); err != nil {
		return 0, fmt.Errorf("struct %s: %w", structure, err)
	}
	return s.Size, nil
}

// Field finds a member of a structure by its path; members of unnamed structures
// and unions count as those of the one around.
func (r *Reader) Field(structure string, path ...string) (Field, error) {
	var s *btf.Struct
	if err := r.spec.TypeByName(structure, &s); err != nil {
		return Field{}, fmt.Errorf("struct %s: %w", structure, err)
	}
	var t btf.Type = s
	f := Field{Size: s.Size}
	for _, name := range path {
		m, off, ok := member(t, name)
		if !ok {
			return Field{}, fmt.Errorf("struct %s has no member %v here", structure, path)
		}
		t = m.Type
		size, err := btf.Sizeof(t)
		if err != nil {
			return Field{}, err
		}
		f = Field{f.Offset + off, uint32(size)}
	}
	return f, nil
}

func member(t btf.Type, name string) (btf.Member, uint32, bool) {
	var members []btf.Member
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	case *btf.Array:
		return member(t.Type, name)
	}
	for _, m := range members {
		if m.Name == name {
			return m, m.Offset.Bytes(), true
		}
		if m.Name == "" {
			if inner, off, ok := member(m.Type, name); ok {
				return inner, m.Offset.Bytes() + off, true
			}
		}
	}
	return btf.Member{}, 0, false
}

// Number reads an unsigned number or a pointer that is a member of the structure
// at addr.
func (r *Reader) Number(addr uint64, structure string, path ...string) (uint64, error) {
	f, err := r.Field(structure, path...)
	if err != nil {
		return 0, err
	}
	if f.Size > 8 {
		f.Size = 8
	}
	b := make([]byte, 8)
	if err := r.Read(addr+uint64(f.Offset), b[:f.Size]); err != nil {
		return 0, fmt.Errorf("struct %s, %v: %w", structure, path, err)
	}
	return binary.LittleEndian.Uint64(b), nil
}

// Bytes reads a member of the structure at addr as it is.
func (r *Reader) Bytes(addr uint64, structure string, path ...string) ([]byte, error) {
	f, err := r.Field(structure, path...)
	if err != nil {
		return nil, err
	}
	b := make([]byte, f.Size)
	return b, r.Read(addr+uint64(f.Offset), b)
}

// Private gives what struct file.private_data of a descriptor of ours is: of a
// socket its struct socket.
func (r *Reader) Private(fd int) (uint64, error) {
	task, err := r.task()
	if err != nil {
		return 0, err
	}
	files, err := r.Number(task, "task_struct", "files")
	if err != nil {
		return 0, err
	}
	table, err := r.Number(files, "files_struct", "fdt")
	if err != nil {
		return 0, err
	}
	list, err := r.Number(table, "fdtable", "fd")
	if err != nil {
		return 0, err
	}
	b := make([]byte, 8)
	if err := r.Read(list+uint64(8*fd), b); err != nil {
		return 0, err
	}
	return r.Number(binary.NativeEndian.Uint64(b), "file", "private_data")
}
