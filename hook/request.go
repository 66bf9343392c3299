package hook

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/internal/ask"
)

// request is what a program asks for: one line of JSON.
//
//	{"checkpoint":{"image":"NAME","leave_running":true}}
//
// Both members may be left out. The answer is one line of JSON too (ask.Answer), and
// the end of the connection. The program waits for it in a read: at the checkpoint it stands
// there, and a restored copy finds its answer at the same place (restore/request.go).
type request struct {
	Checkpoint *struct {
		Image        string `json:"image"`
		LeaveRunning *bool  `json:"leave_running"`
	} `json:"checkpoint"`
}

// Bounds of what a program can ask of us.
const (
	maxRequest  = 64 << 10
	requestTime = 10 * time.Second
	requestGap  = time.Second
)

// parseRequest reads a request.
func parseRequest(line []byte) (*request, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	r := new(request)
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf(`a request is one line of JSON, {"checkpoint":{}}: %w`, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("a request is one line of JSON, and there is more in it")
	}
	if r.Checkpoint == nil {
		return nil, errors.New(`the request has no "checkpoint"`)
	}
	if name := r.Checkpoint.Image; name != "" && !imageName(name) {
		return nil, errors.New("the name of an image is letters, digits, - and _, 64 at most")
	}
	return r, nil
}

// serve answers requests until the agent ends.
func (o *door) serve(ctx context.Context, a *agent) {
	go func() {
		<-ctx.Done()
		o.close()
	}()
	for {
		c, err := o.accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				a.log.Error(err)
			}
			return
		}
		go o.handle(ctx, a, c)
	}
}

// handle answers one connection.
func (o *door) handle(ctx context.Context, a *agent, c *net.UnixConn) {
	defer o.forget(c)
	if err := c.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return
	}
	answer := ask.Answer{Result: ask.Resumed}
	path, err := o.fulfil(ctx, a, c)
	if err != nil {
		answer = ask.Answer{Result: ask.Failed, Error: toProgram(err)}
		a.log.WithField("trigger", "on-request").Warn(err)
	} else {
		answer.Image = filepath.Base(path)
	}
	line, err := json.Marshal(answer)
	if err != nil {
		return
	}
	// A program that does not wait for its answer misses it.
	if err := c.SetDeadline(time.Now().Add(requestTime)); err == nil {
		_, _ = c.Write(append(line, '\n'))
	}
}

// fulfil reads a request and has the image taken.
func (o *door) fulfil(ctx context.Context, a *agent, c *net.UnixConn) (string, error) {
	if err := fromInside(c, a.plan.Init); err != nil {
		return "", askError{err}
	}
	line, err := bufio.NewReader(io.LimitReader(c, maxRequest)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", askError{fmt.Errorf("no request came: %w", err)}
	}
	r, err := parseRequest(line)
	if err != nil {
		return "", askError{err}
	}
	now := time.Now()
	path := a.plan.imagePath(true, r.Checkpoint.Image, now)
	if r.Checkpoint.Image != "" {
		if err := a.room(path); err != nil {
			return "", askError{err}
		}
	}
	if err := a.init.pause(ctx, o.gap(now)); err != nil {
		return "", err
	}
	stop := r.Checkpoint.LeaveRunning != nil && !*r.Checkpoint.LeaveRunning
	return path, a.ask(ctx, job{trigger: "on-request", path: path, many: true, stop: stop})
}

// askError is about the request itself.
type askError struct{ error }

func (e askError) Unwrap() error { return e.error }

// toProgram is what a program is told of an error: what it can do something about. The
// rest would tell it of the host.
func toProgram(err error) string {
	var asked askError
	if errors.As(err, &asked) || errors.Is(err, checkpoint.ErrUnsupported) {
		return strings.TrimSpace(err.Error())
	}
	return "the image could not be taken: rethaw status on the host tells why"
}

// openDoor makes the socket that is mounted in the container. Every user of the
// container may connect.
func openDoor(path string) (*door, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("the socket for requests: %w", err)
	}
	o := &door{listener: l, known: map[uint64]bool{}, slots: make(chan struct{}, maxConnections)}
	if err := os.Chmod(path, 0o666); err != nil {
		o.close()
		return nil, err
	}
	if err := o.note(l); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}
