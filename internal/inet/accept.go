package inet

import (
	"encoding/binary"
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

// maxPending and maxBuffers bound walks through lists of the kernel.
const (
	maxPending = 1 << 16
	maxBuffers = 1 << 20
)

// AcceptQueue reads the connections that wait for accept(2) at a listening socket
// of ours, the oldest first. They are read out of the kernel's memory, since
// nothing leads to them (net/ipv4/inet_connection_sock.c).
func AcceptQueue(k *kmem.Reader, fd int) ([]Pending, error) {
	socket, err := k.Private(fd)
	if err != nil {
		return nil, err
	}
	sk, err := k.Follow(socket, "socket.sk")
	if err != nil {
		return nil, err
	}
	protocol, err := number(k, sk, "sock.sk_protocol", 2)
	if err != nil {
		return nil, err
	}
	if protocol == unix.IPPROTO_MPTCP&0xffff {
		// Its first and only subflow listens.
		if sk, err = k.Follow(sk, "mptcp_sock.first"); err != nil {
			return nil, err
		}
	}
	request, err := k.Follow(sk, "inet_connection_sock.icsk_accept_queue&", "request_sock_queue.rskq_accept_head")
	if err != nil {
		return nil, err
	}
	var list []Pending
	for request != 0 {
		if len(list) == maxPending {
			return nil, kmem.ErrMoving
		}
		child, err := k.Follow(request, "request_sock.sk")
		if err != nil {
			return nil, err
		}
		p, err := pending(k, child)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
		if request, err = k.Follow(request, "request_sock.dl_next"); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// HasChooser tells whether a BPF program chooses among the sockets of a port
// (struct sock_reuseport).
func HasChooser(k *kmem.Reader, fd int) (bool, error) {
	socket, err := k.Private(fd)
	if err != nil {
		return false, err
	}
	group, err := k.Follow(socket, "socket.sk", "sock.sk_reuseport_cb")
	if err != nil || group == 0 {
		return false, err
	}
	program, err := k.Follow(group, "sock_reuseport.prog")
	return program != 0, err
}

// number reads a member of 1, 2 or 4 bytes.
func number(k *kmem.Reader, addr uint64, field string, size int) (uint32, error) {
	b, err := bytesOf(k, addr, field, size)
	if err != nil {
		return 0, err
	}
	full := make([]byte, 4)
	copy(full, b)
	return binary.LittleEndian.Uint32(full), nil
}

func bytesOf(k *kmem.Reader, addr uint64, field string, size int) ([]byte, error) {
	at, err := k.Follow(addr, field+"&")
	if err != nil {
		return nil, err
	}
	return k.Bytes(at, size)
}

// pending reads one connection that has no descriptor.
func pending(k *kmem.Reader, sk uint64) (Pending, error) {
	var p Pending
	var state, family, localPort, remotePort uint32
	var local, remote []byte
	for _, f := range []struct {
		to    *uint32
		field string
		size  int
	}{
		{&state, "sock_common.skc_state", 1}, {&family, "sock_common.skc_family", 2},
		{&localPort, "sock_common.skc_num", 2}, {&remotePort, "sock_common.skc_dport", 2},
		{&p.RecvSeq, "tcp_sock.rcv_nxt", 4},
	} {
		var err error
		if *f.to, err = number(k, sk, f.field, f.size); err != nil {
			return p, err
		}
	}
	fields, size := [2]string{"sock_common.skc_rcv_saddr", "sock_common.skc_daddr"}, 4
	if family == unix.AF_INET6 {
		fields, size = [2]string{"sock_common.skc_v6_rcv_saddr", "sock_common.skc_v6_daddr"}, 16
	}
	for i, to := range []*[]byte{&local, &remote} {
		var err error
		if *to, err = bytesOf(k, sk, fields[i], size); err != nil {
			return p, err
		}
	}
	l, _ := netip.AddrFromSlice(local)
	r, _ := netip.AddrFromSlice(remote)
	// The remote port is in network order.
	port := binary.LittleEndian.AppendUint16(nil, uint16(remotePort))
	p.State = int32(state)
	p.Local = netip.AddrPortFrom(l.Unmap(), uint16(localPort))
	p.Remote = netip.AddrPortFrom(r.Unmap(), binary.BigEndian.Uint16(port))
	var err error
	p.Data, err = received(k, sk)
	return p, err
}

// received reads the receive queue of a connection that nobody has read from.
func received(k *kmem.Reader, sk uint64) ([]byte, error) {
	seq, err := number(k, sk, "tcp_sock.copied_seq", 4)
	if err != nil {
		return nil, err
	}
	end, err := k.Follow(sk, "sock.sk_receive_queue&")
	if err != nil {
		return nil, err
	}
	skb, err := k.Follow(end, "sk_buff_head.next")
	if err != nil {
		return nil, err
	}
	var data []byte
	for n := 0; skb != end; n++ {
		if n == maxBuffers || skb == 0 {
			return nil, kmem.ErrMoving
		}
		// struct tcp_skb_cb begins with the sequence number.
		first, err := number(k, skb, "sk_buff.cb", 4)
		if err != nil {
			return nil, err
		}
		b, err := k.Buffer(skb)
		if err != nil {
			return nil, err
		}
		skip := int(int32(seq - first))
		if skip < 0 {
			return nil, kmem.ErrMoving
		}
		if skip < len(b) {
			data = append(data, b[skip:]...)
			seq += uint32(len(b) - skip)
		}
		if skb, err = k.Follow(skb, "sk_buff.next"); err != nil {
			return nil, err
		}
	}
	return data, nil
}
