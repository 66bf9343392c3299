package rig

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/ns"
)

// Dial connects from inside the container's network namespace, as a client that
// is not one of its tasks. The caller closes the connection before a checkpoint:
// its other end lies outside.
func (c *Container) Dial(network, address string) (net.Conn, error) {
	return c.DialContext(context.Background(), network, address)
}

// DialContext is Dial in the shape that http.Transport wants.
func (c *Container) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	state, ok := c.State()
	if !ok || state.Pid == 0 {
		return nil, fmt.Errorf("container %s does not run", c.ID)
	}
	var conn net.Conn
	err := ns.Enter(state.Pid, ns.Net, func() (err error) {
		// A numeric address and one family: the dialer then makes the socket on
		// this very thread.
		dialer := net.Dialer{Timeout: 5 * time.Second, FallbackDelay: -1}
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// NetNS makes a network namespace that outlives containers, with its loopback
// interface up, and returns the path of it, which is in dir. It goes with the
// test.
func NetNS(t TB, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "net")
	must(t, os.WriteFile(path, nil, 0o600), "make mount point")
	done := make(chan error)
	go func() {
		// The thread is of no more use afterwards: it ends with the goroutine.
		runtime.LockOSThread()
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			link, err := netlink.LinkByName("lo")
			if err != nil {
				return err
			}
			if err := netlink.LinkSetUp(link); err != nil {
				return err
			}
			return unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}()
	}()
	if err := <-done; err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(path, unix.MNT_DETACH), "unmount network namespace") })
	return path
}

// DialIn connects inside the network namespace at path.
func DialIn(path, network, address string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		var f *os.File
		if f, err = os.Open(path); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		dialer := net.Dialer{Timeout: 5 * time.Second, FallbackDelay: -1}
		conn, err = dialer.Dial(network, address)
	}()
	<-done
	return conn, err
}
