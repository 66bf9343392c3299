package afunix

import (
	"encoding/binary"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Message is what one recvmsg(2) gives, or one sendmsg(2) takes.
type Message struct {
	Data []byte
	// Name is the sender's, or where a datagram shall go.
	Name []byte
	// Files are descriptors of ours (SCM_RIGHTS), in both directions.
	Files []int
	// Creds are SCM_CREDENTIALS, nil for none; its pid counts in our pid
	// namespace.
	Creds *unix.Ucred
	// Length is that of the whole message, which Data may have only the
	// beginning of.
	Length int
	// Cut tells that some of the control data did not arrive.
	Cut bool
}

// scmPidfd and scmSecurity are control messages that come when they were asked
// for (include/linux/socket.h).
const (
	scmSecurity = 3
	scmPidfd    = 4
)

// controlRoom holds the most that comes with one message: 253 descriptors
// (SCM_MAX_FD), credentials, a pidfd, a security label.
const controlRoom = 4096

// Peek reads the next message, up to len(buf) bytes, and leaves it in the queue.
// It does not wait. The caller closes the Files.
func Peek(fd int, buf []byte) (*Message, error) {
	var name [256]byte
	var control [controlRoom]byte
	var iov unix.Iovec
	if len(buf) > 0 {
		iov.Base = &buf[0]
	}
	iov.SetLen(len(buf))
	hdr := unix.Msghdr{Name: &name[0], Namelen: uint32(len(name)), Iov: &iov, Control: &control[0]}
	hdr.SetIovlen(1)
	hdr.SetControllen(len(control))
	const flags = unix.MSG_PEEK | unix.MSG_DONTWAIT | unix.MSG_TRUNC | unix.MSG_CMSG_CLOEXEC
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), flags)
	if errno != 0 {
		return nil, os.NewSyscallError("recvmsg", errno)
	}
	m := &Message{Length: int(n), Cut: hdr.Flags&unix.MSG_CTRUNC != 0}
	m.Data = buf[:min(m.Length, len(buf))]
	m.Name = Decode(name[:min(int(hdr.Namelen), len(name))])
	return m, m.takeControl(control[:min(int(hdr.Controllen), len(control))])
}

// Begin tells where the last piece begins of those in a queue of a stream that
// fill size bytes exactly, from the present SO_PEEK_OFF on: how many bytes come before
// it. The kernel copies piece by piece, and what it cannot copy whole it gives back:
// so it is offered room for one byte less, and after that memory that cannot be
// written. Descriptors that arrive are closed.
func Begin(fd, size int) (int, error) {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return 0, os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(page)
	buf := make([]byte, size)
	iov := []unix.Iovec{{Base: &buf[0]}, {Base: &page[0]}}
	iov[0].SetLen(size - 1)
	iov[1].SetLen(1)
	var control [controlRoom]byte
	hdr := unix.Msghdr{Iov: &iov[0], Control: &control[0]}
	hdr.SetIovlen(len(iov))
	hdr.SetControllen(len(control))
	const flags = unix.MSG_PEEK | unix.MSG_DONTWAIT | unix.MSG_CMSG_CLOEXEC
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), flags)
	if errno == unix.EFAULT {
		return 0, nil // there is but one
	}
	if errno != 0 {
		return 0, os.NewSyscallError("recvmsg", errno)
	}
	m := &Message{}
	err = m.takeControl(control[:min(int(hdr.Controllen), len(control))])
	m.Close()
	return int(n), err
}

func (m *Message) takeControl(control []byte) error {
	parts, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return os.NewSyscallError("control message", err)
	}
	for i := range parts {
		p := &parts[i]
		if p.Header.Level != unix.SOL_SOCKET {
			continue
		}
		switch p.Header.Type {
		case unix.SCM_RIGHTS:
			m.Files, err = unix.ParseUnixRights(p)
		case unix.SCM_CREDENTIALS:
			m.Creds, err = unix.ParseUnixCredentials(p)
		case scmPidfd:
			// The kernel made it for us; it is no part of the message.
			if len(p.Data) >= 4 {
				if pidfd := int32(binary.NativeEndian.Uint32(p.Data)); pidfd >= 0 {
					_ = unix.Close(int(pidfd))
				}
			}
		}
		if err != nil {
			return os.NewSyscallError("control message", err)
		}
	}
	return nil
}

// Close closes the descriptors that came with the message.
func (m *Message) Close() {
	for _, fd := range m.Files {
		_ = unix.Close(fd)
	}
	m.Files = nil
}

// Send sends a message as one piece, without waiting.
func Send(fd int, m *Message) error {
	var control []byte
	if m.Creds != nil {
		control = append(control, unix.UnixCredentials(m.Creds)...)
	}
	if len(m.Files) > 0 {
		control = append(control, unix.UnixRights(m.Files...)...)
	}
	var iov unix.Iovec
	var hdr unix.Msghdr
	if len(m.Data) > 0 {
		iov.Base = &m.Data[0]
		iov.SetLen(len(m.Data))
	}
	hdr.Iov = &iov
	hdr.SetIovlen(1)
	if m.Name != nil {
		to, err := Encode(m.Name)
		if err != nil {
			return err
		}
		hdr.Name, hdr.Namelen = &to[0], uint32(len(to))
	}
	if len(control) > 0 {
		hdr.Control = &control[0]
		hdr.SetControllen(len(control))
	}
	n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno != 0 {
		return os.NewSyscallError("sendmsg", errno)
	}
	if int(n) != len(m.Data) {
		return os.NewSyscallError("sendmsg", unix.EMSGSIZE)
	}
	return nil
}
