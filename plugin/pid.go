package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/rethaw/rethaw/checkpoint"
)

// tree is a task of the host with all its descendants. No engine has it, so there is
// nothing to destroy.
type tree struct {
	init process
}

// Tree returns the tree below a task of the host, for --pid.
func Tree(pid int) (Container, error) {
	if pid <= 1 {
		return nil, fmt.Errorf("%w: the tree of pid %d cannot be checkpointed: name the pid of a program", ErrUnsupported, pid)
	}
	if pid == os.Getpid() {
		return nil, fmt.Errorf("%w: pid %d is rethaw itself", ErrUnsupported, pid)
	}
	state, start, err := processStat(pid)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%w: there is no process %d", ErrNotFound, pid)
	case err != nil:
		return nil, err
	case state == 'Z' || state == 'X':
		return nil, &StateError{Candidate: Candidate{Engine: "pid", ID: strconv.Itoa(pid)}, Status: Stopped,
			Remedy: "the process has ended and only waits for its parent"}
	}
	return &tree{init: process{pid: pid, start: start}}, nil
}

// Candidate implements Container.
func (t *tree) Candidate() Candidate {
	return Candidate{Engine: "pid", ID: strconv.Itoa(t.init.pid), Pid: t.init.pid}
}

// Status implements Container.
func (t *tree) Status(ctx context.Context) (Status, error) {
	if !t.init.alive() {
		return Stopped, nil
	}
	return Running, nil
}

// Target implements Container. The cgroups of a host task may hold others' tasks, so
// none is given: the tree is stopped task by task.
func (t *tree) Target(ctx context.Context) (checkpoint.Target, error) {
	if above(os.Getpid(), t.init.pid) {
		return checkpoint.Target{}, fmt.Errorf("%w: rethaw runs inside the tree of pid %d: start it from elsewhere",
			ErrUnsupported, t.init.pid)
	}
	return checkpoint.Target{
		Engine:    "pid",
		Container: strconv.Itoa(t.init.pid),
		Init:      t.init.pid,
		Host:      true,
		Rootfs:    "/",
	}, nil
}

// Destroy implements Container.
func (t *tree) Destroy(ctx context.Context) error { return nil }

// above tells whether ancestor is above pid in the tree of processes.
func above(pid, ancestor int) bool {
	for range 4096 {
		if pid == ancestor {
			return true
		}
		ppid, err := parent(pid)
		if err != nil || ppid <= 0 {
			return false
		}
		pid = ppid
	}
	return false
}
