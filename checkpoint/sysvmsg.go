package checkpoint

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

const (
	// msgCopy is MSG_COPY of msgrcv(2), which leaves the message in the queue;
	// the type is its place in the queue then.
	msgCopy    = 0o40000
	msgNoError = 0o10000
	ipcStat    = 2
	wordSize   = 8
)

// msqid is struct msqid64_ds of 64-bit machines (include/uapi/asm-generic/msgbuf.h).
type msqid struct {
	perm                     [48]byte
	stime, rtime, ctime      int64
	cbytes, qnum, maxBytes   uint64
	lastSender, lastReceiver int32
	_                        [2]uint64
}

// saveSysVMsg saves every message queue. Its messages are copied, not taken.
func saveSysVMsg(d *dump) error {
	if err := d.findSysV(); err != nil {
		return err
	}
	for i := range d.sysv.msg {
		o := &d.sysv.msg[i]
		r := &specs.SysVMsg{IPCPerm: ipcPerm(o)}
		if err := d.inside(func() error { return readMessages(o, r) }); err != nil {
			return fmt.Errorf("save System V message queue %d (key %#x): %w", o.ID, uint32(o.Key), err)
		}
		if err := d.out.Put(d.newID(), r); err != nil {
			return err
		}
	}
	return nil
}

// readMessages fills in the limit and the messages of a queue.
func readMessages(o *procfs.IPCObject, r *specs.SysVMsg) error {
	var ds msqid
	if _, err := ipcControl(unix.SYS_MSGCTL, o.ID, 0, ipcStat, unsafe.Pointer(&ds)); err != nil {
		return err
	}
	r.MaxBytes = ds.maxBytes
	buf := make([]byte, wordSize+ds.cbytes+1)
	for i := range ds.qnum {
		n, _, errno := unix.Syscall6(unix.SYS_MSGRCV, uintptr(o.ID), uintptr(unsafe.Pointer(&buf[0])),
			uintptr(len(buf)-wordSize), uintptr(i), msgCopy|ipcNoWait|msgNoError, 0)
		if errno == unix.ENOSYS {
			return fmt.Errorf("copy message %d: this kernel has no MSG_COPY (CONFIG_CHECKPOINT_RESTORE): %w", i, errno)
		}
		if errno != 0 {
			return fmt.Errorf("copy message %d: %w", i, errno)
		}
		r.Messages = append(r.Messages, specs.MsgMessage{
			Type: int64(binary.NativeEndian.Uint64(buf)), Data: append([]byte(nil), buf[wordSize:wordSize+n]...),
		})
	}
	return nil
}
