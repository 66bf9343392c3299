package kmem

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// maxThreads bounds the walk along a list of threads, which changes while tasks
// run.
const maxThreads = 1 << 20

// ErrMoved tells of a task that has ended or changed while it was looked at.
var ErrMoved = errors.New("the task has changed meanwhile")

// Task gives the struct task_struct of the process of a pidfd of ours.
func (r *Reader) Task(pidfd int) (uint64, error) {
	file, err := r.File(pidfd)
	if err != nil {
		return 0, err
	}
	// Where the struct pid is: of an inode of pidfs (since Linux 6.9), or of the file.
	pid, err := r.Follow(file, "file.f_inode", "inode.i_private")
	if err == nil && pid == 0 {
		pid, err = r.Follow(file, "file.private_data")
	}
	if err != nil {
		return 0, err
	}
	link, err := r.Follow(pid, "pid.tasks")
	if err != nil {
		return 0, err
	}
	off, err := r.Offset("task_struct.pid_links")
	if err != nil {
		return 0, err
	}
	if link < off {
		return 0, ErrMoved
	}
	task := link - off
	if own, err := r.Follow(task, "task_struct.thread_pid"); err != nil || own != pid {
		return 0, fmt.Errorf("%w: %v", ErrMoved, err)
	}
	return task, nil
}

// Threads gives the struct task_struct of all threads of a process.
func (r *Reader) Threads(task uint64) ([]uint64, error) {
	head, err := r.Follow(task, "task_struct.signal", "signal_struct.thread_head&")
	if err != nil {
		return nil, err
	}
	off, err := r.Offset("task_struct.thread_node")
	if err != nil {
		return nil, err
	}
	var threads []uint64
	node, err := r.Word(head)
	for ; err == nil && node != head; node, err = r.Word(node) {
		if len(threads) == maxThreads || node < off {
			return nil, ErrMoved
		}
		threads = append(threads, node-off)
	}
	return threads, err
}

// current gives the task_struct of the calling thread.
func (r *Reader) current() (uint64, error) {
	p, err := taskProgram()
	if err != nil {
		return 0, err
	}
	defer p.close()
	if err := p.run(); err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint64(p.room), nil
}

// Own is the task_struct of a thread of ours.
func (r *Reader) Own() uint64 { return r.task }
