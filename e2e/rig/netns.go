package rig

import (
	"context"
	"fmt"
	"net"
	"time"

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
