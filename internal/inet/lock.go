package inet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Lock keeps packets of single connections from passing, both ways, in one
// network namespace: a table of nf_tables that belongs to our netlink socket
// (NFT_TABLE_F_OWNER, since Linux 5.12). It goes when the socket goes, at the latest with
// our own death, so that no connection is left cut off.
type Lock struct {
	conn  *netlink.Conn
	table string
	// pairs are the connections that it locks.
	pairs [][2]netip.AddrPort
}

// Mark is the SO_MARK of packets that a lock lets pass.
const Mark = 0x52744877

// nft encodes messages of nf_tables (include/uapi/linux/netfilter/nf_tables.h).
const (
	nftFamilyInet    = 1
	nftTableOwner    = 2
	nftChainPriority = -300
	nfDrop           = 0
)

// chains are the hooks at which connections of the namespace's own sockets pass.
var chains = map[string]uint32{"in": unix.NF_INET_LOCAL_IN, "out": unix.NF_INET_LOCAL_OUT}

// NewLock makes a lock, of no connection yet, in the network namespace of the
// calling thread. Needs CAP_NET_ADMIN there.
func NewLock() (*Lock, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("network lock: %w", err)
	}
	l := &Lock{conn: conn, table: fmt.Sprintf("rethaw-%d", os.Getpid())}
	if err := l.send(l.tables(l.table, nftTableOwner)); err != nil {
		conn.Close()
		return nil, fmt.Errorf("network lock (nf_tables with owners of tables, Linux 5.12): %w", err)
	}
	return l, nil
}

// tables makes the messages for a table with its chains.
func (l *Lock) tables(table string, flags uint32) []netlink.Message {
	messages := []netlink.Message{l.message(unix.NFT_MSG_NEWTABLE, netlink.Create|netlink.Excl,
		netlink.Attribute{Type: unix.NFTA_TABLE_NAME, Data: text(table)},
		netlink.Attribute{Type: unix.NFTA_TABLE_FLAGS, Data: big(flags)})}
	for name, hook := range chains {
		messages = append(messages, l.message(unix.NFT_MSG_NEWCHAIN, netlink.Create,
			netlink.Attribute{Type: unix.NFTA_CHAIN_TABLE, Data: text(table)},
			netlink.Attribute{Type: unix.NFTA_CHAIN_NAME, Data: text(name)},
			nested(unix.NFTA_CHAIN_HOOK,
				netlink.Attribute{Type: unix.NFTA_HOOK_HOOKNUM, Data: big(hook)},
				netlink.Attribute{Type: unix.NFTA_HOOK_PRIORITY, Data: big(uint32(nftChainPriority & 0xffffffff))}),
			netlink.Attribute{Type: unix.NFTA_CHAIN_TYPE, Data: text("filter")}))
	}
	return messages
}

// Add locks the TCP connection between local and remote.
func (l *Lock) Add(local, remote netip.AddrPort) error {
	messages, err := l.rules(l.table, local, remote)
	if err == nil {
		err = l.send(messages)
	}
	if err != nil {
		return fmt.Errorf("network lock of %v - %v: %w", local, remote, err)
	}
	l.pairs = append(l.pairs, [2]netip.AddrPort{local, remote})
	return nil
}

// rules makes the messages for both directions of a connection.
func (l *Lock) rules(table string, local, remote netip.AddrPort) ([]netlink.Message, error) {
	var messages []netlink.Message
	for name := range chains {
		from, to := remote, local
		if name == "out" {
			from, to = local, remote
		}
		rule, err := l.rule(table, name, from, to)
		if err != nil {
			return nil, err
		}
		messages = append(messages, rule)
	}
	return messages, nil
}

// Keep has the lock stay when it is closed, as a table of the given name. For a
// connection that is to be restored later: a namespace that goes on without it
// would answer its peer with a reset.
func (l *Lock) Keep(table string) error {
	messages := l.tables(table, 0)
	for _, p := range l.pairs {
		rules, err := l.rules(table, p[0], p[1])
		if err != nil {
			return err
		}
		messages = append(messages, rules...)
	}
	if err := l.send(messages); err != nil {
		return fmt.Errorf("keep network lock: %w", err)
	}
	return nil
}

// Forget removes what Keep has left. It need not be there.
func (l *Lock) Forget(table string) error {
	err := l.send([]netlink.Message{l.message(unix.NFT_MSG_DELTABLE, 0,
		netlink.Attribute{Type: unix.NFTA_TABLE_NAME, Data: text(table)})})
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove network lock %s: %w", table, err)
	}
	return nil
}

// Close lets everything pass again.
func (l *Lock) Close() error { return l.conn.Close() }

// rule drops the packets between two ends that do not carry Mark.
func (l *Lock) rule(table, chain string, from, to netip.AddrPort) (netlink.Message, error) {
	const reg = 1
	load := func(base expr.PayloadBase, offset uint32, value []byte) []expr.Any {
		return []expr.Any{
			&expr.Payload{OperationType: expr.PayloadLoad, DestRegister: reg, Base: base, Offset: offset, Len: uint32(len(value))},
			&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: value},
		}
	}
	meta := func(key expr.MetaKey, op expr.CmpOp, value []byte) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: value}}
	}
	src, dst := from.Addr().Unmap(), to.Addr().Unmap()
	proto, srcOff, dstOff := byte(unix.NFPROTO_IPV4), uint32(12), uint32(16)
	if src.Is6() {
		proto, srcOff, dstOff = unix.NFPROTO_IPV6, 8, 24
	}
	ports := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from.Port()), to.Port())
	mark := binary.NativeEndian.AppendUint32(nil, Mark)
	var all []expr.Any
	for _, part := range [][]expr.Any{
		meta(expr.MetaKeyNFPROTO, expr.CmpOpEq, []byte{proto}),
		meta(expr.MetaKeyL4PROTO, expr.CmpOpEq, []byte{unix.IPPROTO_TCP}),
		load(expr.PayloadBaseTransportHeader, 0, ports),
		load(expr.PayloadBaseNetworkHeader, srcOff, src.AsSlice()),
		load(expr.PayloadBaseNetworkHeader, dstOff, dst.AsSlice()),
		meta(expr.MetaKeyMARK, expr.CmpOpNeq, mark),
		{&expr.Verdict{Kind: expr.VerdictDrop}},
	} {
		all = append(all, part...)
	}
	elements := make([]netlink.Attribute, len(all))
	for i, e := range all {
		b, err := expr.Marshal(nftFamilyInet, e)
		if err != nil {
			return netlink.Message{}, err
		}
		elements[i] = netlink.Attribute{Type: unix.NFTA_LIST_ELEM | unix.NLA_F_NESTED, Data: b}
	}
	return l.message(unix.NFT_MSG_NEWRULE, netlink.Create|netlink.Append,
		netlink.Attribute{Type: unix.NFTA_RULE_TABLE, Data: text(table)},
		netlink.Attribute{Type: unix.NFTA_RULE_CHAIN, Data: text(chain)},
		nested(unix.NFTA_RULE_EXPRESSIONS, elements...)), nil
}

// message makes one message of nf_tables.
func (l *Lock) message(kind int, flags netlink.HeaderFlags, attrs ...netlink.Attribute) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   append([]byte{nftFamilyInet, 0, 0, 0}, attributes(attrs)...),
	}
}

// send sends messages as one batch, which takes effect as a whole or not at all.
func (l *Lock) send(messages []netlink.Message) error {
	edge := func(kind int) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request},
			Data:   []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	// One answer is enough: what fails is answered first.
	messages[len(messages)-1].Header.Flags |= netlink.Acknowledge
	batch := append([]netlink.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, messages...)
	batch = append(batch, edge(unix.NFNL_MSG_BATCH_END))
	if _, err := l.conn.SendMessages(batch); err != nil {
		return err
	}
	_, err := l.conn.Receive()
	return err
}

func attributes(attrs []netlink.Attribute) []byte {
	b, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		return nil // only values beyond 64 KiB do not fit: the kernel refuses the message
	}
	return b
}

func nested(kind uint16, attrs ...netlink.Attribute) netlink.Attribute {
	return netlink.Attribute{Type: kind | unix.NLA_F_NESTED, Data: attributes(attrs)}
}

func text(s string) []byte { return append([]byte(s), 0) }
func big(v uint32) []byte  { return binary.BigEndian.AppendUint32(nil, v) }
