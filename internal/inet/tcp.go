package inet

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// States of TCP (include/net/tcp_states.h).
const (
	Established = 1 + iota
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Close
	CloseWait
	LastAck
	Listen
	Closing
)

// StateName names a state as ss(8) does.
func StateName(state int32) string {
	names := [...]string{"?", "ESTABLISHED", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE",
		"CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING"}
	if state < 0 || int(state) >= len(names) {
		state = 0
	}
	return names[state]
}

// SentFIN and GotFIN tell what ends of the two streams a state has seen.
func SentFIN(state int32) bool {
	return state == FinWait1 || state == FinWait2 || state == Closing || state == LastAck
}

// GotFIN tells whether the peer has ended its stream.
func GotFIN(state int32) bool { return state == CloseWait || state == Closing || state == LastAck }

// Info is what is used of struct tcp_info.
type Info struct {
	State, Options uint8
	// Retransmits counts how often in a row a packet was sent again without an answer.
	Retransmits              uint8
	SendScale, RecvScale     uint8
	SendMSS, AdvMSS, Backlog uint32
	Waiting                  uint32
	// SendWindow is how much the peer lets us send, in bytes; 0 before Linux 5.4.
	SendWindow uint32
}

// Bits of Info.Options.
const (
	HasTimestamps = 1 << iota
	HasSACK
	HasScale
)

// ReadInfo asks for TCP_INFO.
func ReadInfo(fd int) (Info, error) {
	b, err := Get(fd, unix.IPPROTO_TCP, unix.TCP_INFO, 256)
	if err != nil {
		return Info{}, fmt.Errorf("TCP_INFO: %w", err)
	}
	if len(b) < 88 {
		return Info{}, fmt.Errorf("TCP_INFO: %d bytes: %w", len(b), unix.EINVAL)
	}
	word := func(off int) uint32 { return binary.NativeEndian.Uint32(b[off:]) }
	var window uint32
	if len(b) >= 232 {
		window = word(228)
	}
	return Info{
		State: b[0], Retransmits: b[2], SendWindow: window, Options: b[5], SendScale: b[6] & 15, RecvScale: b[6] >> 4,
		// Of a listening socket these are other counters than their names say.
		SendMSS: word(16), Waiting: word(24), Backlog: word(28), AdvMSS: word(84),
	}, nil
}

// Values of TCP_REPAIR and TCP_REPAIR_QUEUE (include/uapi/linux/tcp.h).
const (
	repairOn      = 1
	RepairOff     = 0
	RepairOffMute = -1 // TCP_REPAIR_OFF_NO_WP: without a window probe
)

// Queues of a connection, for TCP_REPAIR_QUEUE.
const (
	NoQueue = iota
	RecvQueue
	SendQueue
)

// Codes of TCP_REPAIR_OPTIONS: those of the options in a TCP header.
const (
	optMSS        = 2
	optWindow     = 3
	optSACK       = 4
	optTimestamps = 8
)

// Repair puts a connection into repair mode: it is taken out of the protocol's
// hands, and closing it sends nothing. Needs CAP_NET_ADMIN over the namespace.
func Repair(fd int) error { return SetInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, repairOn) }

// EndRepair ends it; a probe then tells the peer where we are.
func EndRepair(fd int) error { return SetInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, RepairOff) }

// EndRepairMute ends it without a packet.
func EndRepairMute(fd int) error { return SetInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, RepairOffMute) }

// Queue chooses the queue that the next calls are about.
func Queue(fd, queue int) error {
	return SetInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, queue)
}

// Seq reads the sequence number at the end of the chosen queue.
func Seq(fd int) (uint32, error) {
	v, err := Int(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
	return uint32(v), err
}

// SetSeq sets it, before the socket is connected.
func SetSeq(fd int, seq uint32) error {
	return SetInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ, int(int32(seq)))
}

// SetOptions sets what the handshake negotiated: pairs of code and value, for a
// connection in repair mode.
func SetOptions(fd int, options [][2]uint32) error {
	if len(options) == 0 {
		return nil
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&options[0])), len(options)*8)
	return Set(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_OPTIONS, b)
}

// Negotiated makes the pairs for SetOptions. mss is what the peer announced.
func Negotiated(i Info, mss uint32) [][2]uint32 {
	var list [][2]uint32
	if mss != 0 {
		list = append(list, [2]uint32{optMSS, mss})
	}
	if i.Options&HasSACK != 0 {
		list = append(list, [2]uint32{optSACK, 0})
	}
	if i.Options&HasScale != 0 {
		list = append(list, [2]uint32{optWindow, uint32(i.SendScale) | uint32(i.RecvScale)<<16})
	}
	if i.Options&HasTimestamps != 0 {
		list = append(list, [2]uint32{optTimestamps, 0})
	}
	return list
}

// Stamped tells whether the options have timestamps.
func Stamped(options [][2]uint32) bool {
	for _, o := range options {
		if o[0] == optTimestamps {
			return true
		}
	}
	return false
}

// windowSize is sizeof(struct tcp_repair_window).
const windowSize = 20

// Window reads the windows of a connection in repair mode.
func Window(fd int) ([]byte, error) {
	return Get(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_WINDOW, windowSize)
}

// NewWindow makes those of a connection with nothing under way: send and recv are
// the sizes, in bytes, next is what is expected next.
func NewWindow(send, recv, next uint32) []byte {
	b := make([]byte, 0, windowSize)
	for _, v := range []uint32{next, send, send, recv, next} {
		b = binary.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// SetWindow sets them. next is what is expected next, in bytes: it lies before the
// end of the peer's stream, which the windows may have counted.
func SetWindow(fd int, window []byte, next uint32) error {
	if len(window) != windowSize {
		return unix.EINVAL
	}
	b := append([]byte(nil), window...)
	const firstUpdate, lastUpdate = 0, 16 // snd_wl1, rcv_wup
	for _, at := range []int{firstUpdate, lastUpdate} {
		if int32(binary.NativeEndian.Uint32(b[at:])-next) > 0 {
			binary.NativeEndian.PutUint32(b[at:], next)
		}
	}
	return Set(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_WINDOW, b)
}

// Queued tells how many bytes wait to be read (SIOCINQ), to be acknowledged
// (SIOCOUTQ) and to be sent at all (SIOCOUTQNSD). An end of the stream counts in
// the last two.
func Queued(fd int) (in, out, unsent int, err error) {
	for _, q := range []struct {
		to      *int
		request uint
	}{{&in, unix.SIOCINQ}, {&out, unix.SIOCOUTQ}, {&unsent, siocOutqNSD}} {
		if *q.to, err = unix.IoctlGetInt(fd, q.request); err != nil {
			return 0, 0, 0, err
		}
	}
	return in, out, unsent, nil
}

const siocOutqNSD = 0x894b

// Peek reads n bytes of the receive queue, or, in repair mode with the queue
// chosen, of the send queue, and leaves them there.
func Peek(fd, n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	got, _, err := unix.Recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err != nil {
		return nil, err
	}
	if got != n {
		return nil, fmt.Errorf("%d of %d bytes of the queue: %w", got, n, unix.EAGAIN)
	}
	return b, nil
}
