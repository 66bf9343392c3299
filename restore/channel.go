package restore

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A channel is a pair of sockets that is made in a task, one end of which we take
// (pidfd_getfd(2)); descriptors go through it as SCM_RIGHTS (unix(7)).

// maxRights is SCM_MAX_FD of the kernel.
const maxRights = 253

func putWord(b []byte, v uint64)   { binary.LittleEndian.PutUint64(b, v) }
func putWord32(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// channel is one way into a task's table of descriptors.
type channel struct {
	r *restorer
	t *task
	// end is the task's number of its socket, ours our own socket.
	end  int
	ours *os.File
	// calls are made ahead of the next message: each batch takes time of its own.
	calls batch
}

// open makes a channel in t.
func (r *restorer) openChannel(t *task) (*channel, error) {
	data, at := t.arena.Data()
	if _, err := r.call(t, unix.SYS_SOCKETPAIR, unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0, at); err != nil {
		return nil, fmt.Errorf("make channel: %w", err)
	}
	theirs, other := binary.LittleEndian.Uint32(data), binary.LittleEndian.Uint32(data[4:])
	pidfd, err := t.pidfd()
	if err != nil {
		return nil, err
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, int(other), 0)
	if err != nil {
		return nil, fmt.Errorf("take channel: %w", err)
	}
	c := &channel{r: r, t: t, end: int(theirs), ours: os.NewFile(uintptr(fd), "channel")}
	c.calls.add("close channel", unix.SYS_CLOSE, uint64(other))
	return c, nil
}

// pass puts the files into the task's table, at the lowest free numbers, and
// returns these. Then it makes the calls of then.
func (c *channel) pass(files []*os.File, then batch) ([]int, error) {
	var numbers []int
	for len(files) > 0 {
		n := min(len(files), maxRights)
		var after batch
		if n == len(files) {
			after, then = then, batch{}
		}
		got, err := c.message(files[:n], after)
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, got...)
		files = files[n:]
	}
	then.prepend(c.calls)
	c.calls = batch{}
	return numbers, then.run(c.t, c.t.threads[0])
}

func (c *channel) message(files []*os.File, then batch) ([]int, error) {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	if err := unix.Sendmsg(int(c.ours.Fd()), []byte{0}, unix.UnixRights(fds...), nil, 0); err != nil {
		return nil, fmt.Errorf("send %d descriptors: %w", len(fds), err)
	}
	// struct msghdr, iovec, a byte and the control buffer, in the arena.
	const iovOff, byteOff, controlOff = 64, 96, 128
	data, at := c.t.arena.Data()
	controlLen := unix.CmsgSpace(4 * len(fds))
	clear(data[:controlOff+controlLen])
	putWord(data[16:], at+iovOff)
	putWord(data[24:], 1)
	putWord(data[32:], at+controlOff)
	putWord(data[40:], uint64(controlLen))
	putWord(data[iovOff:], at+byteOff)
	putWord(data[iovOff+8:], 1)
	b := c.calls
	c.calls = batch{}
	b.add("receive descriptors", unix.SYS_RECVMSG, uint64(c.end), at, 0)
	then.prepend(b)
	if err := then.run(c.t, c.t.threads[0]); err != nil {
		return nil, err
	}
	// cmsg_len counts what came; msg_controllen has padding too.
	length := int(binary.LittleEndian.Uint64(data[controlOff:])) - unix.CmsgLen(0)
	if length != 4*len(fds) {
		return nil, fmt.Errorf("%d of %d descriptors arrived: the task's limit of open files is too low", length/4, len(fds))
	}
	numbers := make([]int, len(fds))
	for i := range numbers {
		numbers[i] = int(binary.LittleEndian.Uint32(data[controlOff+unix.CmsgLen(0)+4*i:]))
	}
	return numbers, nil
}

// send passes files into a task through a channel of their own.
func (r *restorer) send(t *task, files []*os.File) ([]int, error) {
	if len(files) == 0 {
		return nil, nil
	}
	c, err := r.openChannel(t)
	if err != nil {
		return nil, err
	}
	defer c.ours.Close()
	var end batch
	end.add("close channel", unix.SYS_CLOSE, uint64(c.end))
	return c.pass(files, end)
}
