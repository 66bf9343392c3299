package inet

import (
	"encoding/binary"
	"fmt"

	"github.com/rethaw/rethaw/internal/kmem"
	"golang.org/x/sys/unix"
)

// Exact is what of a connection repair mode shows alone.
type Exact struct {
	// SendSeq is the end of the send queue, the end of the stream counted.
	SendSeq uint32
	// SendData is what was not acknowledged.
	SendData []byte
	// MSS is what the peer announced, Timestamp that of TCP_TIMESTAMP, Window
	// struct tcp_repair_window.
	MSS, Timestamp uint32
	Window         []byte
}

// ReadExact reads it from the kernel's memory, without repair mode. A connection
// that moves meanwhile gives kmem.ErrMoving.
func ReadExact(k *kmem.Reader, fd int) (*Exact, error) {
	socket, err := k.Private(fd)
	if err != nil {
		return nil, err
	}
	sk, err := k.Follow(socket, "socket.sk")
	if err != nil {
		return nil, err
	}
	before, err := counters(k, sk)
	if err != nil {
		return nil, err
	}
	e := &Exact{SendSeq: before["write_seq"]}
	for _, name := range []string{"snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup"} {
		e.Window = binary.NativeEndian.AppendUint32(e.Window, before[name])
	}
	options, err := k.Follow(sk, "tcp_sock.rx_opt&")
	if err != nil {
		return nil, err
	}
	if e.MSS, err = number(k, options, "tcp_options_received.mss_clamp", 2); err != nil {
		return nil, err
	}
	stamp, err := Int(fd, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
	if err != nil {
		return nil, err
	}
	e.Timestamp = uint32(stamp)
	q := &sendQueue{k: k, next: before["snd_una"]}
	if err := q.read(sk); err != nil {
		return nil, err
	}
	e.SendData = q.data
	after, err := counters(k, sk)
	if err != nil {
		return nil, err
	}
	for name, v := range before {
		if after[name] != v {
			return nil, kmem.ErrMoving
		}
	}
	// The end of the stream counts, and has no byte.
	if left := before["write_seq"] - q.next; left > 1 {
		return nil, fmt.Errorf("%d bytes of the send queue are not there: %w", left, kmem.ErrMoving)
	}
	return e, nil
}

// RecvSeq reads the end of the receive queue, the end of the stream counted.
func RecvSeq(k *kmem.Reader, fd int) (uint32, error) {
	socket, err := k.Private(fd)
	if err != nil {
		return 0, err
	}
	sk, err := k.Follow(socket, "socket.sk")
	if err != nil {
		return 0, err
	}
	return number(k, sk, "tcp_sock.rcv_nxt", 4)
}

// counters reads the sequence numbers and windows of a connection.
func counters(k *kmem.Reader, sk uint64) (map[string]uint32, error) {
	m := map[string]uint32{}
	for _, name := range []string{"write_seq", "snd_una", "snd_nxt", "snd_wl1", "snd_wnd", "max_window", "rcv_wnd", "rcv_wup"} {
		v, err := number(k, sk, "tcp_sock."+name, 4)
		if err != nil {
			return nil, err
		}
		m[name] = v
	}
	return m, nil
}

// sendQueue reads a send queue: a tree of what was sent, and a list of what was
// not (net/ipv4/tcp_output.c).
type sendQueue struct {
	k     *kmem.Reader
	next  uint32
	data  []byte
	count int
}

func (q *sendQueue) read(sk uint64) error {
	root, err := q.k.Follow(sk, "sock.tcp_rtx_queue&", "rb_root.rb_node")
	if err != nil {
		return err
	}
	if err := q.tree(root, 0); err != nil {
		return err
	}
	end, err := q.k.Follow(sk, "sock.sk_write_queue&")
	if err != nil {
		return err
	}
	skb, err := q.k.Follow(end, "sk_buff_head.next")
	for err == nil && skb != end {
		if err = q.buffer(skb); err == nil {
			skb, err = q.k.Follow(skb, "sk_buff.next")
		}
	}
	return err
}

// tree goes through a red-black tree from left to right.
func (q *sendQueue) tree(node uint64, depth int) error {
	const maxDepth = 64
	if node == 0 {
		return nil
	}
	if depth > maxDepth {
		return kmem.ErrMoving
	}
	left, err := q.k.Follow(node, "rb_node.rb_left")
	if err != nil {
		return err
	}
	if err := q.tree(left, depth+1); err != nil {
		return err
	}
	at, err := q.k.Offset("sk_buff.rbnode")
	if err != nil {
		return err
	}
	if err := q.buffer(node - at); err != nil {
		return err
	}
	right, err := q.k.Follow(node, "rb_node.rb_right")
	if err != nil {
		return err
	}
	return q.tree(right, depth+1)
}

// buffer appends one buffer, without what was acknowledged of it.
func (q *sendQueue) buffer(skb uint64) error {
	if q.count++; q.count > maxBuffers || skb == 0 {
		return kmem.ErrMoving
	}
	first, err := number(q.k, skb, "sk_buff.cb", 4)
	if err != nil {
		return err
	}
	b, err := q.k.Buffer(skb)
	if err != nil {
		return err
	}
	skip := int(int32(q.next - first))
	if skip < 0 {
		return kmem.ErrMoving
	}
	if skip < len(b) {
		q.data = append(q.data, b[skip:]...)
		q.next += uint32(len(b) - skip)
	}
	return nil
}
