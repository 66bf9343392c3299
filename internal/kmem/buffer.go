package kmem

import (
	"errors"
	"fmt"
)

// ErrMoving is a structure that changes while it is read.
var ErrMoving = errors.New("the kernel's data change while they are read")

// maxBuffer is more than one buffer of the network has.
const maxBuffer = 1 << 24

// fragment names the members of a piece of a page, which were others before
// Linux 6.9 (skb_frag_t).
type fragment struct{ kind, page, offset, size string }

func fragments() []fragment {
	return []fragment{
		{"skb_frag", "netmem", "offset", "len"},
		{"skb_frag", "bv_page", "bv_offset", "bv_len"},
		{"bio_vec", "bv_page", "bv_offset", "bv_len"},
	}
}

// Buffer reads the data of a struct sk_buff: its linear part, its pieces of pages
// and the further buffers that hang on it (include/linux/skbuff.h).
func (r *Reader) Buffer(skb uint64) ([]byte, error) {
	size, err := r.half(skb, "sk_buff.len")
	if err != nil {
		return nil, err
	}
	paged, err := r.half(skb, "sk_buff.data_len")
	if err != nil {
		return nil, err
	}
	if paged > size || size > maxBuffer {
		return nil, ErrMoving
	}
	at, err := r.Follow(skb, "sk_buff.data")
	if err != nil {
		return nil, err
	}
	b, err := r.Bytes(at, int(size-paged))
	if err != nil || paged == 0 {
		return b, err
	}
	head, err := r.Follow(skb, "sk_buff.head")
	if err != nil {
		return nil, err
	}
	end, err := r.half(skb, "sk_buff.end")
	if err != nil {
		return nil, err
	}
	shared := head + uint64(end)
	if b, err = r.pieces(b, shared, int(size)); err != nil {
		return nil, err
	}
	more, err := r.Follow(shared, "skb_shared_info.frag_list")
	for err == nil && more != 0 && len(b) < int(size) {
		var part []byte
		if part, err = r.Buffer(more); err == nil {
			b = append(b, part...)
			more, err = r.Follow(more, "sk_buff.next")
		}
	}
	if err == nil && len(b) != int(size) {
		err = ErrMoving
	}
	return b, err
}

// pieces appends what stands in pages (struct skb_shared_info).
func (r *Reader) pieces(b []byte, shared uint64, limit int) ([]byte, error) {
	f, err := r.fragment()
	if err != nil {
		return nil, err
	}
	step, err := r.Size(f.kind)
	if err != nil {
		return nil, err
	}
	at, err := r.Follow(shared, "skb_shared_info.frags&")
	if err != nil {
		return nil, err
	}
	count, err := r.half(shared, "skb_shared_info.nr_frags")
	if err != nil {
		return nil, err
	}
	for range count & 0xff {
		page, err := r.Follow(at, f.kind+"."+f.page)
		if err != nil {
			return nil, err
		}
		offset, err := r.half(at, f.kind+"."+f.offset)
		if err != nil {
			return nil, err
		}
		size, err := r.half(at, f.kind+"."+f.size)
		if err != nil {
			return nil, err
		}
		if page&1 != 0 {
			return nil, errors.New("data are in the memory of a device")
		}
		if len(b)+int(size) > limit {
			return nil, ErrMoving
		}
		from, err := r.PageAddress(page)
		if err != nil {
			return nil, err
		}
		piece, err := r.Bytes(from+uint64(offset), int(size))
		if err != nil {
			return nil, err
		}
		b, at = append(b, piece...), at+uint64(step)
	}
	return b, nil
}

func (r *Reader) fragment() (fragment, error) {
	for _, f := range fragments() {
		if _, err := r.Offset(f.kind + "." + f.page); err == nil {
			return f, nil
		}
	}
	return fragment{}, fmt.Errorf("this kernel's buffers are laid out otherwise")
}

// half reads a member of 4 bytes.
func (r *Reader) half(addr uint64, field string) (uint32, error) {
	at, err := r.Follow(addr, field+"&")
	if err != nil {
		return 0, err
	}
	return r.Half(at)
}
