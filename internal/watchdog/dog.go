package watchdog

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// verb is the argument that makes a watchdog of the program.
const verb = "watchdog"

// Is tells whether the arguments of a program after its name are a watchdog's.
func Is(args []string) bool { return len(args) == 1 && args[0] == verb }

// ordersFD is the descriptor at which a watchdog reads its orders.
const ordersFD = 3

// Launch starts a watchdog and returns the socket for its orders. The program that calls it
// must call Serve when Is says so.
func Launch() (*os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "watchdog"), os.NewFile(uintptr(pair[1]), "orders")
	defer theirs.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		ours.Close()
		return nil, err
	}
	defer null.Close()
	p, err := os.StartProcess("/proc/self/exe", []string{"rethaw", verb}, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{null, null, null, theirs}, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start a watchdog: %w", err)
	}
	// Whoever dies first, nobody waits for the other.
	go func() { _, _ = p.Wait() }()
	return ours, nil
}

// Dog gives orders to a watchdog, which it starts when it is needed. The zero Dog has none: then
// nothing is guarded.
type Dog struct {
	// Launch starts the watchdog and returns the socket for its orders (nil: there is none).
	Launch func() (*os.File, error)

	mu     sync.Mutex
	socket *os.File
	last   uint64
}

// order is what goes through the socket; a descriptor may come with it.
type order struct {
	ID     uint64 `json:"id"`
	Forget bool   `json:"forget,omitempty"`
	Settle bool   `json:"settle,omitempty"`
	Undo   *Undo  `json:"undo,omitempty"`
}

// Ready starts the watchdog and waits until it is there: what it guards may not have to wait for its
// start. It reports whether there is one.
func (d *Dog) Ready() (bool, error) {
	if d == nil || d.Launch == nil {
		return false, nil
	}
	d.mu.Lock()
	if d.socket == nil {
		socket, err := d.Launch()
		if err != nil {
			d.mu.Unlock()
			return false, err
		}
		d.socket = socket
	}
	d.mu.Unlock()
	return true, d.Settle()
}

// Guard has the watchdog do u if we die before forget is called. fd is what u refers to, -1
// for nothing.
func (d *Dog) Guard(u Undo, fd int) (forget func() error, err error) {
	if d == nil || d.Launch == nil {
		return func() error { return nil }, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket == nil {
		if d.socket, err = d.Launch(); err != nil {
			return nil, err
		}
	}
	d.last++
	id := d.last
	if err := d.send(order{ID: id, Undo: &u}, fd); err != nil {
		return nil, err
	}
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.send(order{ID: id, Forget: true}, -1)
	}, nil
}

func (d *Dog) send(o order, fd int) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var rights []byte
	if fd >= 0 && fd <= math.MaxInt32 {
		rights = unix.UnixRights(fd)
	}
	for {
		err = unix.Sendmsg(int(d.socket.Fd()), text, rights, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("tell the watchdog: %w", err)
	}
	return nil
}

// Settle waits until the watchdog has heard all orders: it holds no descriptor any more of what it
// was told to forget.
func (d *Dog) Settle() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket == nil {
		return nil
	}
	if err := d.send(order{Settle: true}, -1); err != nil {
		return err
	}
	for {
		n, err := unix.Read(int(d.socket.Fd()), make([]byte, 1))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.EPIPE
		}
		if err != nil {
			return fmt.Errorf("hear from the watchdog: %w", err)
		}
		return nil
	}
}

// Close lets the watchdog go: what it still guards it undoes.
func (d *Dog) Close() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.socket == nil {
		return nil
	}
	return d.socket.Close()
}
