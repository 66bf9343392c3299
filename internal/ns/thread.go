package ns

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/rethaw/rethaw/internal/osthread"
)

// ErrClosed is returned by Do after Close.
var ErrClosed = errors.New("namespace thread is closed")

// errExited tells that a closure ended its goroutine.
var errExited = errors.New("closure ended with runtime.Goexit")

// Thread is an operating system thread inside the namespaces of a task. It
// runs closures one at a time and is thrown away by Close.
type Thread struct {
	calls chan call
	quit  chan struct{} // closed by Close
	gone  chan struct{} // closed when the thread takes no more calls
	once  sync.Once
	owner owner
}

type call struct {
	f    func() error
	done chan error
}

// Start makes a thread that has joined the given namespaces of task pid (a
// number of our own pid namespace). It needs CAP_SYS_ADMIN and CAP_SYS_CHROOT
// over the namespaces. A task that is gone or a zombie gives ESRCH.
func Start(pid int, kinds Kinds) (*Thread, error) {
	t := &Thread{
		calls: make(chan call),
		quit:  make(chan struct{}),
		gone:  make(chan struct{}),
	}
	err := kinds.check()
	if err == nil {
		joined := make(chan error)
		go osthread.Run(func() {
			defer close(t.gone)
			err := t.join(pid, kinds)
			joined <- err
			if err == nil {
				t.serve()
			}
		})
		err = <-joined
	}
	if err != nil {
		return nil, fmt.Errorf("join namespaces %s of task %d: %w", kinds, pid, err)
	}
	return t, nil
}

// join makes the calling thread one of the task's namespaces.
func (t *Thread) join(pid int, kinds Kinds) (err error) {
	if kinds&Mount != 0 {
		// While our own /proc is in sight. That the task is gone is told below.
		if t.owner, err = ownerFor(pid); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := join(pid, kinds); err != nil {
		return err
	}
	return t.owner.adopt()
}

// Do calls f on the thread and returns what f returns, or ErrClosed. Calls
// from several goroutines are run one after the other; f must not call Do of
// the same thread.
func (t *Thread) Do(f func() error) error {
	c := call{f: f, done: make(chan error, 1)}
	select {
	case t.calls <- c:
		return <-c.done
	case <-t.gone:
		return ErrClosed
	}
}

// Close lets a call that is under way finish and then ends the thread. The
// namespaces are no longer held by it when Close returns.
func (t *Thread) Close() {
	t.once.Do(func() { close(t.quit) })
	<-t.gone
}

func (t *Thread) serve() {
	for {
		select {
		case c := <-t.calls:
			c.run(t.owner)
		case <-t.quit:
			return
		}
	}
}

// run answers even if f never returns because it ends its goroutine, as
// testing.T.FailNow does.
func (c call) run(o owner) {
	err := errExited
	defer func() { c.done <- err }()
	if err = o.take(); err == nil {
		err = errExited
		err = c.f()
	}
}
