package restore

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// unixSocketKind restores unix(7) sockets. They are made all together, by two
// steps of the sequence:
//
//  1. makeSockets, when all tasks exist and none has its descriptors yet: sockets,
//     names, listening, connections. The kernel notes who called listen(2),
//     connect(2) and socketpair(2) and shows it to the other end for ever
//     (SO_PEERCRED): so each of these calls is made by the task that made it
//     then, under the ids that it had then (unixsocket_actor.go).
//  2. fillSockets, when all descriptions exist: what waits in the queues, with the
//     descriptors in flight; then what would have hindered the sending: shutdown, options,
//     connections of datagram sockets, ends that are closed.
func unixSocketKind() fileKind {
	return fileKind{
		record: &specs.UnixSocket{},
		open: func(*restorer, specs.ID, specs.File) (*os.File, error) {
			return nil, nil // made by makeSockets
		},
	}
}

// unixSocket is one socket of the image.
type unixSocket struct {
	id   specs.ID
	rec  *specs.UnixSocket
	file *os.File
	// peer is the other end, nil if it is closed or none.
	peer *unixSocket
	// partner is what it was made together with by socketpair(2), or connected to
	// before all else: the peer, or a stand-in for one that is closed.
	partner *os.File
	// at is where it can be reached.
	at address
	// as is who called listen(2) last on it.
	as *identity
	// connected tells that a datagram socket has been connected.
	connected bool
}

func (s *unixSocket) fd() int { return int(s.file.Fd()) }

func (s *unixSocket) datagram() bool { return s.rec.Kind == unix.SOCK_DGRAM }

func (s *unixSocket) String() string {
	return fmt.Sprintf("unix socket %d %q", s.id, afunix.String(s.rec.Name))
}

// unixSockets are the unix sockets of a restore.
type unixSockets struct {
	r    *restorer
	all  []*unixSocket
	byID map[specs.ID]*unixSocket
	// space is a thread inside the container's mount and network namespaces
	// with a root directory of its own; it is ours to close if borrowed is
	// not set.
	space    *ns.Thread
	borrowed bool
	// stand are stand-ins for ends that are closed, which close at the last;
	// standing are listening ones by kind and name.
	stand    []*os.File
	standing map[string]*unixSocket
	// senders are stand-ins for senders of datagrams, by name.
	senders map[string]*os.File
	scratch scratch
	// actors stand in for processes that are dead.
	actors map[int32]*task
}

// makeSockets makes all unix sockets of the image.
func (r *restorer) makeSockets() error {
	u := &unixSockets{r: r, byID: map[specs.ID]*unixSocket{}, standing: map[string]*unixSocket{},
		senders: map[string]*os.File{}, actors: map[int32]*task{}}
	for id, rec := range image.Each[*specs.UnixSocket](r.img) {
		s := &unixSocket{id: id, rec: rec}
		u.all = append(u.all, s)
		u.byID[id] = s
	}
	if len(u.all) == 0 {
		return nil
	}
	r.sockets = u
	for _, s := range u.all {
		if s.rec.Peer != 0 {
			if s.peer = u.byID[s.rec.Peer]; s.peer == nil {
				return &Error{"open file", s.String(), fmt.Errorf("its other end %d is no unix socket: %w", s.rec.Peer, ErrUnfit)}
			}
		}
	}
	if err := u.enter(); err != nil {
		return err
	}
	for _, step := range []func(*unixSocket) error{u.create, u.pair, u.listen, u.accept, u.pending, u.settle, u.describe} {
		for _, s := range u.all {
			if err := step(s); err != nil {
				return &Error{"open file", s.String(), err}
			}
		}
	}
	if err := u.untouch(); err != nil {
		return err
	}
	for _, s := range u.all {
		if s.file != nil {
			r.files.open[s.id] = s.file
		}
	}
	return nil
}

// enter gets a thread to work on.
func (u *unixSockets) enter() error {
	if u.r.space != nil {
		u.space, u.borrowed = u.r.space, true
		return nil
	}
	var err error
	u.space, err = ns.Start(os.Getpid(), ns.Mount|ns.Net)
	return err
}

// close gives up what is left of the making.
func (u *unixSockets) close() {
	if u == nil {
		return
	}
	for _, f := range u.stand {
		f.Close()
	}
	u.scratch.close()
	for _, s := range u.all {
		s.at.close()
	}
	for _, s := range u.standing {
		s.at.close()
	}
	if u.space != nil && !u.borrowed {
		u.space.Close()
	}
}

// create makes the sockets that are made alone, with their names.
func (u *unixSockets) create(s *unixSocket) error {
	if s.rec.Detached || s.rec.Accepted || u.paired(s) {
		return nil
	}
	var err error
	if s.file, err = u.socket(s.rec.Kind); err != nil {
		return err
	}
	return u.bind(s)
}

// socket makes a socket that does not wait; its own flags are set at the last.
func (u *unixSockets) socket(kind int32) (*os.File, error) {
	var f *os.File
	err := u.space.Do(func() error {
		fd, err := unix.Socket(unix.AF_UNIX, int(kind)|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err == nil {
			f = os.NewFile(uintptr(fd), "unix socket")
		}
		return os.NewSyscallError("socket", err)
	})
	return f, err
}

// standIn keeps a socket until the last.
func (u *unixSockets) standIn(f *os.File) *os.File {
	u.stand = append(u.stand, f)
	return f
}

// describe sets what fstat(2) shows of a socket.
func (u *unixSockets) describe(s *unixSocket) error {
	if s.file == nil {
		return nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(s.fd(), &stat); err != nil {
		return err
	}
	if stat.Uid != s.rec.InodeUID || stat.Gid != s.rec.InodeGID {
		if err := unix.Fchown(s.fd(), int(s.rec.InodeUID), int(s.rec.InodeGID)); err != nil {
			return os.NewSyscallError("fchown", err)
		}
	}
	if mode := s.rec.InodeMode & 0o7777; stat.Mode&0o7777 != mode {
		return os.NewSyscallError("fchmod", unix.Fchmod(s.fd(), mode))
	}
	return nil
}
