package hook

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/rethaw/rethaw/internal/procfs"
)

// waitListening waits until a task of the container listens at the TCP port.
func waitListening(ctx context.Context, a *agent) error {
	begin := time.Now()
	for {
		look := time.Now()
		found, err := listening(a.plan.Init, a.plan.Wishes.Listening)
		if err != nil {
			return err
		}
		if found {
			return nil
		}
		// A container with many sockets must not make us busy.
		pause := max(patience(time.Since(begin)), 20*time.Since(look))
		if err := a.init.pause(ctx, pause); err != nil {
			return err
		}
	}
}

// listening looks at the network namespace of a container once.
func listening(init, port int) (bool, error) {
	var inodes []uint64
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", init, name))
		if errors.Is(err, os.ErrNotExist) || gone(err) {
			continue // without IPv6, or the container is just ending
		}
		if err != nil {
			return false, err
		}
		some, err := listeners(f, port)
		f.Close()
		if err != nil && !gone(err) {
			return false, err
		}
		inodes = append(inodes, some...)
	}
	if len(inodes) == 0 {
		return false, nil
	}
	// The namespace may be that of others too, as that of the host is.
	return held(init, inodes)
}

// listeners reads the inodes of the sockets that listen at a port from /proc/net/tcp or
// tcp6. The kernel lists those that listen first (net/ipv4/tcp_ipv4.c, tcp_seq_start), so
// that no others are read, of which there may be very many.
func listeners(r io.Reader, port int) ([]uint64, error) {
	const listen = "0A"
	var inodes []uint64
	lines := bufio.NewScanner(r)
	for header := true; lines.Scan(); header = false {
		if header {
			continue
		}
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 10 || string(fields[3]) != listen {
			break
		}
		at := bytes.LastIndexByte(fields[1], ':')
		p, err := strconv.ParseUint(string(fields[1][at+1:]), 16, 16)
		ino, err2 := strconv.ParseUint(string(fields[9]), 10, 64)
		if err := errors.Join(err, err2); err != nil {
			return inodes, fmt.Errorf("list of sockets: %w", err)
		}
		if int(p) == port {
			inodes = append(inodes, ino)
		}
	}
	return inodes, lines.Err()
}

// held tells whether a task of the container has one of the sockets.
func held(init int, inodes []uint64) (bool, error) {
	own, err := procfs.Readlink(init, "ns/pid")
	if err != nil {
		return false, nil // it is just ending
	}
	wanted := map[string]bool{}
	for _, ino := range inodes {
		wanted[fmt.Sprintf("socket:[%d]", ino)] = true
	}
	pids, err := procfs.Pids()
	if err != nil {
		return false, err
	}
	for _, pid := range pids {
		if link, err := procfs.Readlink(pid, "ns/pid"); err != nil || link != own {
			continue
		}
		fds, err := procfs.ListFDs(pid)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if link, err := procfs.Readlink(pid, "fd/"+strconv.Itoa(fd)); err == nil && wanted[link] {
				return true, nil
			}
		}
	}
	return false, nil
}
