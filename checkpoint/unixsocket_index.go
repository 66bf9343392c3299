package checkpoint

import (
	"fmt"
	"os"

	"github.com/rethaw/rethaw/internal/afunix"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/internal/procfs"
)

// socketInfo is what the kernel tells of one unix socket.
type socketInfo struct {
	afunix.Info
	// home tells that it belongs to the network namespace of the tree's first
	// task.
	home bool
}

// unixSockets are the unix sockets of all network namespaces that the tree or we
// are in, the container's and others': only those that the tree holds
// count, but their other ends may be any.
type unixSockets struct {
	byInode map[uint64]*socketInfo
	// clients tell of connections that are not accepted yet: the client's inode
	// to that of the listening socket.
	clients map[uint64]uint64
	// standing tells that the dump was made when all tasks stood still.
	standing bool
	// complete tells that namespaces other than the container's were read too.
	complete bool
	// holders are the processes of the host by the inodes of their sockets, read
	// when first asked for.
	holders map[uint64]int
}

// stands tells whether the tasks stand still: the preflight looks while they
// run.
func (d *dump) stands() bool { return d.stopped != (moment{}) }

// find gives what is known of a socket, nil if nothing is.
func (u *unixSockets) find(d *dump, inode uint64) (*socketInfo, error) {
	// While tasks run, a socket that is not there may have been made since.
	for _, load := range []func(*dump) error{u.load, u.loadOthers, u.reload} {
		if err := load(d); err != nil {
			return nil, err
		}
		if info := u.byInode[inode]; info != nil {
			return info, nil
		}
	}
	return nil, nil
}

// load reads the container's namespace, unless it has been read.
func (u *unixSockets) load(d *dump) error {
	if u.byInode != nil && u.standing == d.stands() {
		return nil
	}
	u.byInode, u.clients, u.standing, u.complete = map[uint64]*socketInfo{}, map[uint64]uint64{}, d.stands(), false
	return u.dump(d.target.Init, true)
}

// loadOthers reads ours and those of other tasks, unless they have been read.
func (u *unixSockets) loadOthers(d *dump) error {
	if u.complete {
		return nil
	}
	u.complete = true
	home, err := procfs.Readlink(d.target.Init, "ns/net")
	if err != nil {
		return err
	}
	seen := map[string]bool{home: true}
	for _, pid := range append([]int{os.Getpid()}, d.livePids()...) {
		link, err := procfs.Readlink(pid, "ns/net")
		if err != nil || seen[link] {
			continue
		}
		seen[link] = true
		if err := u.dump(pid, false); err != nil {
			return err
		}
	}
	return nil
}

// reload reads all anew as long as the tasks run.
func (u *unixSockets) reload(d *dump) error {
	if d.stands() {
		return nil
	}
	u.byInode = nil
	if err := u.load(d); err != nil {
		return err
	}
	return u.loadOthers(d)
}

func (d *dump) livePids() []int {
	var pids []int
	for _, p := range d.live() {
		pids = append(pids, p.at)
	}
	return pids
}

// dump adds the sockets of one task's namespace.
func (u *unixSockets) dump(pid int, home bool) error {
	var all []afunix.Info
	dump := func() error {
		diag, err := afunix.DiagSocket()
		if err != nil {
			return err
		}
		defer diag.Close()
		all, err = afunix.Dump(diag)
		return err
	}
	var err error
	if pid == os.Getpid() {
		err = dump()
	} else {
		err = ns.Enter(pid, ns.Net, dump)
	}
	if err != nil {
		return fmt.Errorf("list unix sockets: %w", err)
	}
	for _, i := range all {
		u.byInode[i.Inode] = &socketInfo{i, home}
		for _, client := range i.Pending {
			if client != 0 {
				u.clients[client] = i.Inode
			}
		}
	}
	return nil
}

// waitsAt gives the listening socket at which a client's connection waits to be
// accepted, 0 if it does not.
func (u *unixSockets) waitsAt(client uint64) uint64 { return u.clients[client] }

// holder names a process of the host that has a descriptor of the socket, 0 if
// none has: such a socket is in flight in a queue, or is about to go.
func (u *unixSockets) holder(inode uint64) int {
	if u.holders == nil {
		u.holders = map[uint64]int{}
		pids, _ := procfs.Pids()
		for _, pid := range pids {
			fds, err := procfs.ListFDs(pid)
			if err != nil {
				continue
			}
			for _, fd := range fds {
				var n uint64
				link, err := procfs.Readlink(pid, fmt.Sprintf("fd/%d", fd))
				if err != nil {
					continue
				}
				if _, err := fmt.Sscanf(link, "socket:[%d]", &n); err == nil {
					u.holders[n] = pid
				}
			}
		}
	}
	return u.holders[inode]
}
