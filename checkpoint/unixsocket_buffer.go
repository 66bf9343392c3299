package checkpoint

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
)

// message reads one buffer of a unix socket's queue (struct sk_buff).
func (p *pendingReader) message(skb uint64) (*specs.Message, error) {
	m := &specs.Message{}
	var err error
	if m.Data, err = p.data(skb); err != nil {
		return nil, err
	}
	parms, err := p.k.Follow(skb, "sk_buff.cb&")
	if err != nil {
		return nil, err
	}
	consumed, err := p.half(parms, "unix_skb_parms.consumed&")
	if err != nil {
		return nil, err
	}
	m.Data = m.Data[min(int(consumed), len(m.Data)):]
	pid, err := p.k.Follow(parms, "unix_skb_parms.pid")
	if err != nil {
		return nil, err
	}
	if pid != 0 {
		if err := p.sender(parms, pid, m); err != nil {
			return nil, err
		}
	}
	fp, err := p.k.Follow(parms, "unix_skb_parms.fp")
	if err != nil || fp == 0 {
		return m, err
	}
	m.Files, err = p.files(fp)
	return m, err
}

// sender fills in the credentials that came with a message.
func (p *pendingReader) sender(parms, pid uint64, m *specs.Message) error {
	n, err := p.number(pid)
	if err != nil {
		return err
	}
	m.Creds = []uint32{uint32(n), 0, 0}
	if m.Creds[1], err = p.half(parms, "unix_skb_parms.uid&"); err != nil {
		return err
	}
	m.Creds[2], err = p.half(parms, "unix_skb_parms.gid&")
	return err
}

// queueOf lists the buffers in the queue of a socket of ours.
func (p *pendingReader) queueOf(fd int) ([]uint64, error) {
	sock, err := p.k.Private(fd)
	if err != nil {
		return nil, err
	}
	sk, err := p.k.Follow(sock, "socket.sk")
	if err != nil {
		return nil, err
	}
	return p.queue(sk)
}

// withEmpty adds to the messages that were read from a queue those that could not
// be: an empty message that was peeked at before, by us for an earlier image, is
// passed over for ever. These are the oldest of the empty ones.
func (p *pendingReader) withEmpty(fd int, read []specs.Message) ([]specs.Message, error) {
	buffers, err := p.queueOf(fd)
	if err != nil || len(buffers) == len(read) {
		return read, err
	}
	hidden := len(buffers) - len(read)
	all := make([]specs.Message, 0, len(buffers))
	for _, skb := range buffers {
		size, err := p.half(skb, "sk_buff.len&")
		if err != nil {
			return nil, err
		}
		if size > 0 || hidden == 0 {
			if len(read) == 0 {
				return nil, fmt.Errorf("queue of %d messages has others than were read", len(buffers))
			}
			all, read = append(all, read[0]), read[1:]
			continue
		}
		hidden--
		m, err := p.message(skb)
		if err != nil {
			return nil, err
		}
		sender, err := p.k.Follow(skb, "sk_buff.sk")
		if err != nil {
			return nil, err
		}
		if sender != 0 {
			if m.From, err = p.name(sender); err != nil {
				return nil, err
			}
		}
		all = append(all, *m)
	}
	return all, nil
}

// senders gives the tree's numbers of all who sent what is in the queue of a
// socket of ours, by our own.
func (p *pendingReader) senders(fd int) (map[int32]int32, error) {
	messages, err := p.queueOf(fd)
	if err != nil {
		return nil, err
	}
	found := map[int32]int32{}
	for _, skb := range messages {
		parms, err := p.k.Follow(skb, "sk_buff.cb&")
		if err != nil {
			return nil, err
		}
		pid, err := p.k.Follow(parms, "unix_skb_parms.pid")
		if err != nil {
			return nil, err
		}
		if pid == 0 {
			continue
		}
		host, inner, err := p.numbers(pid)
		if err != nil {
			return nil, err
		}
		found[host] = inner
	}
	return found, nil
}

// files numbers the descriptions that are in flight (struct scm_fp_list). They are
// known by address only: one that is nowhere else cannot be had.
func (p *pendingReader) files(fp uint64) ([]specs.ID, error) {
	if p.known == nil {
		p.known = map[uint64]specs.ID{}
		for _, f := range p.d.files.all {
			own, err := f.dup()
			if err != nil {
				return nil, err
			}
			file, err := p.k.File(int(own.Fd()))
			if err != nil {
				return nil, err
			}
			p.known[file] = f.id
		}
	}
	count, err := p.half(fp, "scm_fp_list.count&")
	if err != nil {
		return nil, err
	}
	list, err := p.k.Follow(fp, "scm_fp_list.fp&")
	if err != nil {
		return nil, err
	}
	var ids []specs.ID
	for i := range uint64(count & 0xffff) {
		file, err := p.k.Word(list + 8*i)
		if err != nil {
			return nil, err
		}
		id := p.known[file]
		if id == 0 {
			return nil, fmt.Errorf("%w: a descriptor that no task has was sent over it; let the program accept the connection first", ErrUnsupported)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// data reads the bytes of a buffer: a linear part, and pieces of pages.
func (p *pendingReader) data(skb uint64) ([]byte, error) {
	size, err := p.half(skb, "sk_buff.len&")
	if err != nil {
		return nil, err
	}
	paged, err := p.half(skb, "sk_buff.data_len&")
	if err != nil {
		return nil, err
	}
	at, err := p.k.Follow(skb, "sk_buff.data")
	if err != nil {
		return nil, err
	}
	b, err := p.k.Bytes(at, int(size-paged))
	if err != nil || paged == 0 {
		return b, err
	}
	head, err := p.k.Follow(skb, "sk_buff.head")
	if err != nil {
		return nil, err
	}
	end, err := p.half(skb, "sk_buff.end&")
	if err != nil {
		return nil, err
	}
	pieces, err := p.pieces(head + uint64(end))
	if err != nil {
		return nil, err
	}
	if b = append(b, pieces...); len(b) != int(size) {
		return nil, fmt.Errorf("buffer of %d bytes has %d", size, len(b))
	}
	return b, nil
}

// fragment names the members of a piece of a page, which were others before
// Linux 6.9.
type fragment struct{ kind, page, offset, size string }

func (p *pendingReader) fragment() (fragment, error) {
	for _, f := range []fragment{
		{"skb_frag", "netmem", "offset", "len"},
		{"bio_vec", "bv_page", "bv_offset", "bv_len"},
	} {
		if _, err := p.k.Offset(f.kind + "." + f.page); err == nil {
			return f, nil
		}
	}
	return fragment{}, fmt.Errorf("%w: this kernel's buffers are laid out otherwise", ErrUnsupported)
}

// pieces reads the pages of a buffer (struct skb_shared_info).
func (p *pendingReader) pieces(shared uint64) ([]byte, error) {
	f, err := p.fragment()
	if err != nil {
		return nil, err
	}
	count, err := p.half(shared, "skb_shared_info.nr_frags&")
	if err != nil {
		return nil, err
	}
	at, err := p.k.Follow(shared, "skb_shared_info.frags&")
	if err != nil {
		return nil, err
	}
	step, err := p.k.Size(f.kind)
	if err != nil {
		return nil, err
	}
	var b []byte
	for range count & 0xff {
		page, err := p.k.Follow(at, f.kind+"."+f.page)
		if err != nil {
			return nil, err
		}
		offset, err := p.half(at, f.kind+"."+f.offset+"&")
		if err != nil {
			return nil, err
		}
		size, err := p.half(at, f.kind+"."+f.size+"&")
		if err != nil {
			return nil, err
		}
		from, err := p.k.PageAddress(page)
		if err != nil {
			return nil, err
		}
		piece, err := p.k.Bytes(from+uint64(offset), int(size))
		if err != nil {
			return nil, err
		}
		b = append(b, piece...)
		at += uint64(step)
	}
	return b, nil
}
