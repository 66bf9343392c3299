package inet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/rethaw/rethaw/internal/kmem"
	"golang.org/x/sys/unix"
)

// Pending is a connection in the queue of a listening socket.
type Pending struct {
	Local, Remote netip.AddrPort
	State         int32
	// Data is what it has received.
	Data []byte
	// RecvSeq is the sequence number behind it.
	RecvSeq uint32
}

// maxPending and maxBuffers bound walks through lists of the kernel, which may
// change meanwhile.
const (
	maxPending = 1 << 16
	maxBuffers = 1 << 20
)

var errList = errors.New("list of the kernel changes while it is read")

// AcceptQueue reads the connections that wait for accept(2) at a listening socket
// of ours, the oldest first. They are read out of the kernel's memory, since
// nothing leads to them (net/ipv4/inet_connection_sock.c).
func AcceptQueue(m *kmem.Reader, fd int) ([]Pending, error) {
	socket, err := m.Private(fd)
	if err != nil {
		return nil, err
	}
	sk, err := m.Number(socket, "socket", "sk")
	if err != nil {
		return nil, err
	}
	protocol, err := m.Number(sk, "sock", "sk_protocol")
	if err != nil {
		return nil, err
	}
	if protocol == unix.IPPROTO_MPTCP {
		// Its first and only subflow listens.
		if sk, err = m.Number(sk, "mptcp_sock", "first"); err != nil {
			return nil, err
		}
	}
	request, err := m.Number(sk, "inet_connection_sock", "icsk_accept_queue", "rskq_accept_head")
	if err != nil {
		return nil, err
	}
	var list []Pending
	for request != 0 {
		if len(list) == maxPending {
			return nil, errList
		}
		child, err := m.Number(request, "request_sock", "sk")
		if err != nil {
			return nil, err
		}
		p, err := pending(m, child)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
		if request, err = m.Number(request, "request_sock", "dl_next"); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// pending reads one connection that has no descriptor.
func pending(m *kmem.Reader, sk uint64) (Pending, error) {
	var p Pending
	numbers := map[string]uint64{}
	for _, name := range []string{"skc_state", "skc_family", "skc_num", "skc_dport", "skc_daddr", "skc_rcv_saddr"} {
		v, err := m.Number(sk, "sock_common", name)
		if err != nil {
			return p, err
		}
		numbers[name] = v
	}
	p.State = int32(numbers["skc_state"])
	local := binary.NativeEndian.AppendUint32(nil, uint32(numbers["skc_rcv_saddr"]))
	remote := binary.NativeEndian.AppendUint32(nil, uint32(numbers["skc_daddr"]))
	if numbers["skc_family"] == unix.AF_INET6 {
		var err error
		if local, err = m.Bytes(sk, "sock_common", "skc_v6_rcv_saddr"); err != nil {
			return p, err
		}
		if remote, err = m.Bytes(sk, "sock_common", "skc_v6_daddr"); err != nil {
			return p, err
		}
	}
	l, _ := netip.AddrFromSlice(local)
	r, _ := netip.AddrFromSlice(remote)
	port := binary.NativeEndian.AppendUint16(nil, uint16(numbers["skc_dport"]))
	p.Local = netip.AddrPortFrom(l.Unmap(), uint16(numbers["skc_num"]))
	p.Remote = netip.AddrPortFrom(r.Unmap(), binary.BigEndian.Uint16(port))
	next, err := m.Number(sk, "tcp_sock", "rcv_nxt")
	if err != nil {
		return p, err
	}
	p.RecvSeq = uint32(next)
	p.Data, err = received(m, sk)
	return p, err
}

// received reads the receive queue of a connection that nobody has read from.
func received(m *kmem.Reader, sk uint64) ([]byte, error) {
	next, err := m.Number(sk, "tcp_sock", "copied_seq")
	if err != nil {
		return nil, err
	}
	head, err := m.Field("sock", "sk_receive_queue")
	if err != nil {
		return nil, err
	}
	end := sk + uint64(head.Offset)
	skb, err := m.Number(end, "sk_buff_head", "next")
	if err != nil {
		return nil, err
	}
	seq := uint32(next)
	var data []byte
	for n := 0; skb != end; n++ {
		if n == maxBuffers || skb == 0 {
			return nil, errList
		}
		// struct tcp_skb_cb begins with the sequence number.
		cb, err := m.Bytes(skb, "sk_buff", "cb")
		if err != nil {
			return nil, err
		}
		b, err := buffer(m, skb)
		if err != nil {
			return nil, err
		}
		skip := int(int32(seq - binary.NativeEndian.Uint32(cb)))
		if skip < 0 {
			return nil, errList
		}
		if skip < len(b) {
			data = append(data, b[skip:]...)
			seq += uint32(len(b) - skip)
		}
		if skb, err = m.Number(skb, "sk_buff", "next"); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// buffer reads the data of one sk_buff: its linear part, its fragments of pages
// and those of further buffers that hang on it (include/linux/skbuff.h).
func buffer(m *kmem.Reader, skb uint64) ([]byte, error) {
	var v struct{ length, paged, data, head, end uint64 }
	for _, f := range []struct {
		to   *uint64
		name string
	}{{&v.length, "len"}, {&v.paged, "data_len"}, {&v.data, "data"}, {&v.head, "head"}, {&v.end, "end"}} {
		var err error
		if *f.to, err = m.Number(skb, "sk_buff", f.name); err != nil {
			return nil, err
		}
	}
	if v.paged > v.length || v.length > 1<<24 {
		return nil, errList
	}
	data := make([]byte, v.length-v.paged, v.length)
	if err := m.Read(v.data, data); err != nil {
		return nil, err
	}
	if v.paged == 0 {
		return data, nil
	}
	shared := v.head + v.end
	count, err := m.Number(shared, "skb_shared_info", "nr_frags")
	if err != nil {
		return nil, err
	}
	for i := range count {
		b, err := fragment(m, shared, i)
		if err != nil {
			return nil, err
		}
		data = append(data, b...)
	}
	more, err := m.Number(shared, "skb_shared_info", "frag_list")
	for more != 0 && err == nil && len(data) < int(v.length) {
		var b []byte
		if b, err = buffer(m, more); err == nil {
			data = append(data, b...)
			more, err = m.Number(more, "sk_buff", "next")
		}
	}
	if err == nil && len(data) != int(v.length) {
		err = errList
	}
	return data, err
}

// fragment reads one fragment: a part of a page. Its fields were renamed in
// Linux 6.9 and 6.10 (skb_frag_t).
func fragment(m *kmem.Reader, shared, i uint64) ([]byte, error) {
	frags, err := m.Field("skb_shared_info", "frags")
	if err != nil {
		return nil, err
	}
	var at [3]kmem.Field
	for j, names := range [][]string{{"netmem", "bv_page"}, {"len", "bv_len"}, {"offset", "bv_offset"}} {
		for _, name := range names {
			if at[j], err = m.Field("skb_shared_info", "frags", name); err == nil {
				break
			}
		}
		if err != nil {
			return nil, err
		}
	}
	const fragmentSize = 16
	b := make([]byte, fragmentSize)
	if err := m.Read(shared+uint64(frags.Offset)+i*fragmentSize, b); err != nil {
		return nil, err
	}
	number := func(f kmem.Field) uint64 {
		raw := make([]byte, 8)
		copy(raw, b[f.Offset-frags.Offset:][:f.Size])
		return binary.LittleEndian.Uint64(raw)
	}
	page, length, offset := number(at[0]), number(at[1]), number(at[2])
	if page&1 != 0 || length > 1<<24 {
		return nil, fmt.Errorf("data are in memory of a device: %w", unix.EFAULT)
	}
	base, err := m.Page(page)
	if err != nil {
		return nil, err
	}
	data := make([]byte, length)
	return data, m.Read(base+offset, data)
}
