package watchdog

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Dog gives orders to a watchdog, which it starts when it is needed. The zero Dog has none: then
// nothing is guarded.
type Dog struct {
	// Launch starts the watchdog (nil: there is none).
	Launch func() (*Leash, error)

	mu    sync.Mutex
	leash *Leash
	last  uint64
	// guarded is how many orders hold.
	guarded int
	// awake is set when it has answered.
	awake bool
	// closed is set when it was let go.
	closed bool
}

// order is what goes through the socket; a descriptor may come with it.
type order struct {
	ID     uint64 `json:"id"`
	Forget bool   `json:"forget,omitempty"`
	Settle bool   `json:"settle,omitempty"`
	Undo   *Undo  `json:"undo,omitempty"`
}

// Ready starts the watchdog, and reports whether there is one: our death finds it in its place. It may sleep:
// what must be undone within less than the milliseconds that it takes to wake up waits for Awake before.
func (d *Dog) Ready() (bool, error) {
	if d == nil || d.Launch == nil {
		return false, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return true, d.launch()
}

// launch starts the watchdog if there is none.
func (d *Dog) launch() error {
	if d.leash != nil {
		return nil
	}
	if d.closed {
		return os.ErrClosed
	}
	leash, err := d.Launch()
	if err != nil {
		return err
	}
	d.leash = leash
	return nil
}

// Guard has the watchdog do u if we die before forget is called. fd is what u refers to, -1
// for nothing.
func (d *Dog) Guard(u Undo, fd int) (forget func() error, err error) {
	if d == nil || d.Launch == nil {
		return func() error { return nil }, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.launch(); err != nil {
		return nil, err
	}
	d.last++
	id := d.last
	if err := d.send(order{ID: id, Undo: &u}, fd); err != nil {
		return nil, err
	}
	d.guarded++
	forgotten := false
	return func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !forgotten {
			forgotten = true
			d.guarded--
		}
		return d.send(order{ID: id, Forget: true}, -1)
	}, nil
}

// Wake has a watchdog that sleeps wake up, which takes some milliseconds, and does not wait for it.
func (d *Dog) Wake() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leash != nil {
		d.leash.wake()
	}
}

// Awake waits until the watchdog is awake: it starts to undo within microseconds of our death then.
func (d *Dog) Awake() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	awake := d.awake
	d.mu.Unlock()
	if awake {
		return nil
	}
	return d.Settle()
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
	// Nobody reads while it sleeps: when the socket is full it is woken.
	err = d.leash.send(text, rights, unix.MSG_DONTWAIT)
	if errors.Is(err, unix.EAGAIN) {
		d.leash.wake()
		err = d.leash.send(text, rights, 0)
	}
	if err != nil {
		return fmt.Errorf("tell the watchdog: %w", err)
	}
	return nil
}

// Settle waits until the watchdog is awake and has heard all orders: it holds no descriptor any more of what it
// was told to forget.
func (d *Dog) Settle() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leash == nil {
		return nil
	}
	if err := d.send(order{Settle: true}, -1); err != nil {
		return err
	}
	d.leash.wake()
	for {
		n, err := unix.Read(int(d.leash.orders.Fd()), make([]byte, 1))
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = unix.EPIPE
		}
		if err != nil {
			return fmt.Errorf("hear from the watchdog: %w", err)
		}
		d.awake = true
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
	d.closed = true
	if d.leash == nil {
		return nil
	}
	return d.leash.drop(d.guarded == 0)
}
