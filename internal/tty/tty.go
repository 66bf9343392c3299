// Package tty asks and sets what a pseudo-terminal (pty(7)) is made of, and
// moves what waits in it.
//
// The kernel keeps a pair: a master, made by opening ptmx, and a slave, a file
// of devpts. Settings and size belong to the pair and are reached from
// either end. Bytes wait in the receiving end: what was typed waits in the slave
// as its line discipline left it (n_tty(4): erased, translated, cut into
// lines), what was printed waits in the master.
package tty

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Major numbers of pseudo-terminals (Documentation/admin-guide/devices.txt).
const (
	SlaveMajor, SlaveMajors = 136, 8
	// TTYMajor with CurrentMinor is /dev/tty, with PtmxMinor ptmx.
	TTYMajor                = 5
	CurrentMinor, PtmxMinor = 0, 2
)

// nTTY is the ordinary line discipline (N_TTY).
const nTTY = 0

// ioctl makes an ioctl whose argument is a pointer.
func ioctl(f *os.File, request uint, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(arg))
	if errno != 0 {
		return errno
	}
	return nil
}

// flag asks for an int.
func flag(f *os.File, request uint) (bool, error) {
	n, err := unix.IoctlGetInt(int(f.Fd()), request)
	return n != 0, err
}

// setFlag sets an int that is passed by its address.
func setFlag(f *os.File, request uint, on bool) error {
	var n int32
	if on {
		n = 1
	}
	return ioctl(f, request, unsafe.Pointer(&n))
}

// Number gives N of /dev/pts/N for a master.
func Number(master *os.File) (int, error) {
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return 0, fmt.Errorf("number of terminal: %w", err)
	}
	return n, nil
}

// Device gives the number of the device behind a descriptor: for /dev/tty it is
// that of the terminal which was found at the open. A terminal that has hung up
// gives EIO.
func Device(f *os.File) (uint64, error) {
	n, err := unix.IoctlGetUint32(int(f.Fd()), unix.TIOCGDEV)
	if err != nil {
		return 0, fmt.Errorf("device of terminal: %w", err)
	}
	return uint64(n), nil
}

// HungUp tells whether a terminal answers nothing but that it has hung up
// (hung_up_tty_fops).
func HungUp(f *os.File) bool {
	_, err := Device(f)
	return errors.Is(err, unix.EIO)
}

// Discipline tells whether a terminal has the ordinary line discipline.
func Discipline(f *os.File) (ordinary bool, err error) {
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGETD)
	return n == nTTY, err
}

// SetLocked sets the lock that keeps a slave from being opened.
func SetLocked(master *os.File, on bool) error { return setFlag(master, unix.TIOCSPTLCK, on) }

// Locked tells whether the slave cannot be opened.
func Locked(master *os.File) (bool, error) { return flag(master, unix.TIOCGPTLCK) }

// SetPacket sets packet mode (TIOCPKT of ioctl_tty(2)). What waited to be told is
// forgotten when it is set.
func SetPacket(master *os.File, on bool) error { return setFlag(master, unix.TIOCPKT, on) }

// Packet tells whether packet mode is on.
func Packet(master *os.File) (bool, error) { return flag(master, unix.TIOCGPKT) }

// Exclusive tells whether nobody else may open the terminal (TIOCEXCL).
func Exclusive(f *os.File) (bool, error) { return flag(f, unix.TIOCGEXCL) }

// SetExclusive has nobody else open the terminal.
func SetExclusive(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), unix.TIOCEXCL, 0) }

// Peer opens the slave of a master, whatever its name is here and even if it is
// locked. The description is its own and does not wait (O_NONBLOCK).
func Peer(master *os.File) (*os.File, error) {
	return OpenPeer(master, unix.O_RDWR|unix.O_NONBLOCK)
}

// OpenPeer is Peer with flags of open(2), O_NOCTTY in any case. Other than with open the description has no
// O_LARGEFILE, and would keep O_CLOEXEC (TIOCGPTPEER in ioctl_tty(2), ptm_open_peer in drivers/tty/pty.c), as what openpty(3) made shows.
func OpenPeer(master *os.File, flags int) (*os.File, error) {
	locked, err := Locked(master)
	if err != nil {
		return nil, err
	}
	if locked {
		if err := SetLocked(master, false); err != nil {
			return nil, err
		}
	}
	syscall.ForkLock.RLock()
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, uintptr(flags&^unix.O_CLOEXEC|unix.O_NOCTTY))
	if errno == 0 {
		unix.CloseOnExec(int(fd))
	}
	syscall.ForkLock.RUnlock()
	if locked {
		err = SetLocked(master, true)
	}
	if errno != 0 {
		return nil, errors.Join(fmt.Errorf("open slave: %w", errno), err)
	}
	return os.NewFile(fd, "slave"), err
}

// HangUp has every description of the slave say that the terminal has hung up
// (TIOCVHANGUP, as vhangup(2)).
func HangUp(slave *os.File) error { return unix.IoctlSetInt(int(slave.Fd()), unix.TIOCVHANGUP, 0) }

// ready asks poll(2) for events. Asking whether anything can be read also waits
// for what the kernel is still moving (n_tty_poll, drivers/tty/n_tty.c).
func ready(f *os.File, events int16) (int16, error) {
	p := []unix.PollFd{{Fd: int32(f.Fd()), Events: events}}
	for {
		_, err := unix.Poll(p, 0)
		if !errors.Is(err, unix.EINTR) {
			return p[0].Revents, err
		}
	}
}

// Opened tells whether the slave of a master was open at some time and is closed
// now.
func Opened(master *os.File) (bool, error) {
	events, err := ready(master, unix.POLLIN)
	return events&unix.POLLHUP != 0, err
}

// waiting counts what can be read (TIOCINQ).
func waiting(f *os.File) (int, error) {
	return unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
}

// Waits counts the bytes that wait for the reader of a master.
func Waits(master *os.File) (int, error) { return waiting(master) }

// Telling tells whether packet mode has news for the reader of a master.
func Telling(master *os.File) (bool, error) {
	events, err := ready(master, unix.POLLPRI)
	return events&unix.POLLPRI != 0, err
}

// encode gives the bytes of a structure of ioctl_tty(2).
func encode(v any) []byte {
	var b bytes.Buffer
	// It only fails for types without a fixed size.
	_ = binary.Write(&b, binary.NativeEndian, v)
	return b.Bytes()
}

// decode reads the bytes of such a structure.
func decode(b []byte, v any) error {
	n, err := binary.Decode(b, binary.NativeEndian, v)
	if err == nil && n != len(b) {
		err = fmt.Errorf("%d bytes too many", len(b)-n)
	}
	return err
}
