package watchdog

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// verb is the argument that makes a watchdog of the program.
const verb = "watchdog"

// Is tells whether the arguments of a program after its name are a watchdog's.
func Is(args []string) bool { return len(args) == 1 && args[0] == verb }

// The descriptors of a watchdog: where it reads its orders, and, while it sleeps, the bell that wakes it, and
// the program that it becomes then.
const (
	ordersFD = 3 + iota
	bellFD
	programFD
)

// selfExe is our own program.
const selfExe = "/proc/self/exe"

// Leash is our end of a watchdog.
type Leash struct {
	// orders is the socket for them.
	orders *os.File
	// bell wakes a watchdog that sleeps, as its end does; nil if it is awake.
	bell *os.File
	// pid is its number, and kill ends it, while it sleeps.
	pid  int
	kill func() error
}

// Launch starts a watchdog, asleep where that is possible. The program that calls it must call Serve when Is
// says so.
func Launch() (*Leash, error) {
	leash, err := launch(true)
	if err != nil {
		// A kernel may have been told to execute no file that is in memory alone (vm.memfd_noexec).
		leash, err = launch(false)
	}
	if err != nil {
		return nil, fmt.Errorf("start a watchdog: %w", err)
	}
	return leash, nil
}

func launch(asleep bool) (*Leash, error) {
	var mine, theirs []*os.File // what it gets is closed here in any case, our own if it fails
	defer func() { closeAll(theirs) }()
	fail := func(err error) (*Leash, error) {
		closeAll(mine)
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, null)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail(os.NewSyscallError("socketpair", err))
	}
	orders, ends := os.NewFile(uintptr(pair[0]), "watchdog"), os.NewFile(uintptr(pair[1]), "orders")
	mine, theirs = append(mine, orders), append(theirs, ends)
	leash := &Leash{orders: orders}
	path, files := selfExe, []*os.File{null, null, null, ends}
	if asleep {
		program, err := asleepFile()
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, program)
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
			return fail(os.NewSyscallError("pipe2", err))
		}
		hears, bell := os.NewFile(uintptr(pipe[0]), "bell"), os.NewFile(uintptr(pipe[1]), "bell")
		mine, theirs = append(mine, bell), append(theirs, hears)
		self, err := os.Open(selfExe)
		if err != nil {
			return fail(err)
		}
		theirs = append(theirs, self)
		leash.bell = bell
		path, files = fmt.Sprintf("/proc/self/fd/%d", program.Fd()), append(files, hears, self)
	}
	p, err := os.StartProcess(path, []string{"rethaw", verb}, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: files, Sys: &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fail(err)
	}
	leash.pid, leash.kill = p.Pid, p.Kill
	// Whoever dies first, nobody waits for the other.
	go func() { _, _ = p.Wait() }()
	return leash, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// wake has a watchdog that sleeps read its orders.
func (l *Leash) wake() {
	if l.bell != nil {
		l.bell.Close()
		l.bell = nil
	}
}

// send gives one order.
func (l *Leash) send(text, rights []byte, flags int) error {
	for {
		if err := unix.Sendmsg(int(l.orders.Fd()), text, rights, nil, unix.MSG_NOSIGNAL|flags); err != unix.EINTR {
			return err
		}
	}
}

// drop lets the watchdog go: it undoes what it guards. If that is nothing it needs not wake up for it.
func (l *Leash) drop(nothing bool) error {
	var err error
	if l.bell != nil && nothing {
		err = l.kill()
	}
	l.wake()
	return errors.Join(err, l.orders.Close())
}
