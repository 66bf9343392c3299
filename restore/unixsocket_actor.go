package restore

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// identity is what SO_PEERCRED and SO_PEERGROUPS show of a process: the effective
// ids when it made the call.
type identity struct {
	pid      int32
	uid, gid uint32
	groups   []uint32
}

// peerIdentity is who made the connection at the other end of a socket.
func peerIdentity(s *specs.UnixSocket) *identity {
	if !s.HasPeerCred {
		return nil
	}
	return &identity{s.PeerPID, s.PeerUID, s.PeerGID, s.PeerGroups}
}

func (i *identity) equal(o *identity) bool {
	return i == o || i != nil && o != nil && i.pid == o.pid && i.uid == o.uid && i.gid == o.gid && sameGroups(i.groups, o.groups)
}

// actor gives the task that has a pid of the image: one of the tree; a helper
// that takes the number of a process that is dead; nil for 0, a process outside,
// as which we act ourselves.
func (u *unixSockets) actor(pid int32) (*task, error) {
	if pid == 0 {
		return nil, nil
	}
	for _, t := range u.r.made {
		if t.rec.PID == pid {
			return t, nil
		}
	}
	if t := u.actors[pid]; t != nil {
		return t, nil
	}
	g := u.r.newGhost(pid, u.r.root.sid)
	if err := u.r.fork(u.r.root, g); err != nil {
		return nil, fmt.Errorf("stand in for process %d, which is dead: %w", pid, err)
	}
	u.actors[pid] = g
	return g, nil
}

// hostPID gives our number of a process of the image.
func (u *unixSockets) hostPID(pid int32) (int32, error) {
	t, err := u.actor(pid)
	if err != nil {
		return 0, err
	}
	if t == nil {
		return int32(os.Getpid()), nil
	}
	return int32(t.pid), nil
}

// listenAs has listen(2) called on a socket by somebody. The kernel copies the
// identity of the last who did to those who connect.
func (u *unixSockets) listenAs(s *unixSocket, who *identity, backlog int32) error {
	if err := u.do(who, []*os.File{s.file}, func(b *batch, fds []int, _ []byte, _ uint64) {
		b.add("listen", unix.SYS_LISTEN, uint64(fds[0]), uint64(uint32(backlog)))
	}); err != nil {
		return err
	}
	s.as = who
	return nil
}

// connectAs has connect(2) called on a socket by somebody.
func (u *unixSockets) connectAs(f *os.File, to *address, who *identity) error {
	sockaddr, err := afunix.Encode(to.name)
	if err != nil {
		return err
	}
	files := []*os.File{f}
	if to.dir != nil {
		files = append(files, to.dir)
	}
	// The working directory is set by restoreFS, after this.
	return u.do(who, files, func(b *batch, fds []int, data []byte, at uint64) {
		copy(data, sockaddr)
		if to.dir != nil {
			b.add("change directory", unix.SYS_FCHDIR, uint64(fds[1]))
		}
		b.add("connect", unix.SYS_CONNECT, uint64(fds[0]), at, uint64(len(sockaddr)))
	})
}

// pairAs has socketpair(2) called by somebody.
func (u *unixSockets) pairAs(kind int32, who *identity) ([2]*os.File, error) {
	var files [2]*os.File
	var room []byte
	const typeFlags = unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	t, err := u.run(who, nil, func(b *batch, _ []int, data []byte, at uint64) {
		room = data
		b.add("socketpair", unix.SYS_SOCKETPAIR, unix.AF_UNIX, uint64(kind)|typeFlags, 0, at)
	})
	if err != nil {
		return files, err
	}
	numbers := unsafe.Slice((*int32)(unsafe.Pointer(&room[0])), 2)
	for i, n := range slices.Clone(numbers) {
		fd := int(n)
		if t != nil {
			if fd, err = u.take(t, fd); err != nil {
				return files, err
			}
		}
		files[i] = os.NewFile(uintptr(fd), "unix socket")
	}
	return files, nil
}

// take gets a descriptor out of a task, which loses it.
func (u *unixSockets) take(t *task, fd int) (int, error) {
	pidfd, err := t.pidfd()
	if err != nil {
		return 0, err
	}
	defer unix.Close(pidfd)
	own, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return 0, err
	}
	_, err = u.r.call(t, unix.SYS_CLOSE, uint64(fd))
	return own, err
}

// deed adds system calls: on descriptors that the actor has, with room for
// arguments and its address.
type deed func(b *batch, fds []int, data []byte, at uint64)

// do has the calls made by somebody.
func (u *unixSockets) do(who *identity, files []*os.File, what deed) error {
	_, err := u.run(who, files, what)
	return err
}

// run has the calls made by somebody, and tells which task that was, nil for us.
func (u *unixSockets) run(who *identity, files []*os.File, what deed) (*task, error) {
	if who == nil {
		who = &identity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
		who.groups, _ = ourGroups()
	}
	t, err := u.actor(who.pid)
	if err != nil {
		return nil, err
	}
	inner, known := who.inside(&u.r.users)
	if t == nil || !known {
		return nil, u.runHere(who, files, what)
	}
	fds, err := u.r.send(t, files)
	if err != nil {
		return nil, err
	}
	status, err := procfs.ReadStatus(t.at)
	if err != nil {
		return nil, err
	}
	data, at := t.arena.Data()
	b := &batch{}
	now, known := (&identity{uid: status.Uid[1], gid: status.Gid[1], groups: status.Groups}).inside(&u.r.users)
	if !known {
		return nil, fmt.Errorf("process %d: its users are not those of the container: %w", t.pid, ErrUnfit)
	}
	become(b, now, inner, data[groupsOff:], at+groupsOff)
	what(b, fds, data, at)
	become(b, inner, now, data[groupsOff+groupsRoom:], at+groupsOff+groupsRoom)
	for _, fd := range fds {
		b.add("close", unix.SYS_CLOSE, uint64(fd))
	}
	if err := b.run(t, t.threads[0]); err != nil {
		return nil, fmt.Errorf("as process %d, user %d: %w", who.pid, who.uid, err)
	}
	return t, nil
}

// inside is an identity as the tasks of the container have to name it; one that has no numbers there is not theirs.
func (i *identity) inside(in *users) (*identity, bool) {
	uid, known := in.uids.Inside(i.uid)
	gid, same := in.gids.Inside(i.gid)
	known = known && same
	inner := &identity{pid: i.pid, uid: uid, gid: gid, groups: make([]uint32, len(i.groups))}
	for n, g := range i.groups {
		inner.groups[n], same = in.gids.Inside(g)
		known = known && same
	}
	return inner, known
}

// Lists of groups stand in the room for arguments behind what deeds put there.
const (
	groupsOff  = 4096
	groupsRoom = 4 * 65536 // NGROUPS_MAX
)

// become adds the calls that turn effective ids into others; real and saved ones
// stay, so that there is a way back. The capabilities in effect get lost on the
// way from the superuser and return with it.
func become(b *batch, from, to *identity, room []byte, at uint64) {
	same := ^uint64(0)
	user := func() {
		if from.uid != to.uid {
			b.add(fmt.Sprintf("become user %d", to.uid), unix.SYS_SETRESUID, same, uint64(to.uid), same)
		}
	}
	// Towards the superuser the user comes first, since the rest needs its rights.
	if to.uid == 0 {
		user()
	}
	if !sameGroups(from.groups, to.groups) {
		for i, g := range to.groups {
			putWord32(room[i*4:], g)
		}
		b.add("set groups", unix.SYS_SETGROUPS, uint64(len(to.groups)), at)
	}
	if from.gid != to.gid {
		b.add(fmt.Sprintf("become group %d", to.gid), unix.SYS_SETRESGID, same, uint64(to.gid), same)
	}
	if to.uid != 0 {
		user()
	}
}

// runHere makes the calls on our own thread.
func (u *unixSockets) runHere(who *identity, files []*os.File, what deed) error {
	return u.space.Do(func() error {
		data := make([]byte, groupsOff+2*groupsRoom)
		defer runtime.KeepAlive(data)
		at := uint64(uintptr(unsafe.Pointer(&data[0])))
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		groups, err := ourGroups()
		if err != nil {
			return err
		}
		now := &identity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid()), groups: groups}
		b := &batch{}
		become(b, now, who, data[groupsOff:], at+groupsOff)
		what(b, fds, data, at)
		become(b, who, now, data[groupsOff+groupsRoom:], at+groupsOff+groupsRoom)
		// Of this thread only: package syscall would change all of them.
		var errs []error
		for i, c := range b.calls {
			_, _, errno := unix.RawSyscall6(uintptr(c.Nr), uintptr(c.Args[0]), uintptr(c.Args[1]), uintptr(c.Args[2]),
				uintptr(c.Args[3]), uintptr(c.Args[4]), uintptr(c.Args[5]))
			if errno != 0 {
				errs = append(errs, fmt.Errorf("%s: %w", b.what[i], errno))
			}
		}
		errs = append(errs, os.NewSyscallError("chdir", unix.Chdir("/")))
		return errors.Join(errs...)
	})
}

// ourGroups are the supplementary groups of the calling thread.
func ourGroups() ([]uint32, error) {
	list, err := unix.Getgroups()
	groups := make([]uint32, len(list))
	for i, g := range list {
		groups[i] = uint32(g)
	}
	return groups, os.NewSyscallError("getgroups", err)
}
