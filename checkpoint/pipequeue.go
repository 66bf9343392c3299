package checkpoint

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// queue is what is in a pipe.
type queue struct {
	data []byte
	// packets and streams are those of specs.Pipe.
	packets, streams []uint32
}

// readQueue copies what is in a pipe of the given size, without taking it out:
// tee(2) puts the pipe's own pages into one of ours as well.
func readQueue(fd int, reads bool, size int) (*queue, error) {
	total, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil || total == 0 {
		return &queue{}, err
	}
	if !reads {
		// Through its link a pipe can be opened anew, whatever the end
		// (proc_pid_fd(5)).
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("open the pipe for reading: %w", err)
		}
		defer unix.Close(again)
		return copyQueue(again, size, total)
	}
	return copyQueue(fd, size, total)
}

// queued is the data of a pipe for who reads it once more.
type queued struct {
	fd    int
	reads bool
	size  int
}

func (p *queued) read() (*queue, error) { return readQueue(p.fd, p.reads, p.size) }

// ReadAt implements io.ReaderAt.
func (p *queued) ReadAt(b []byte, at int64) (int, error) {
	q, err := p.read()
	if err != nil {
		return 0, err
	}
	if at >= int64(len(q.data)) {
		return 0, io.EOF
	}
	n := copy(b, q.data[at:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func copyQueue(fd, size, total int) (*queue, error) {
	q := &queue{data: make([]byte, total+1)}
	plain, err := q.stream(fd, size, total)
	if err == nil && !plain {
		err = q.pieces(fd, size, total)
	}
	q.data = q.data[:total]
	return q, err
}

// spare is a pipe of ours, which never blocks.
type spare struct{ r, w int }

func newSpare(size int) (spare, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return spare{}, err
	}
	s := spare{p[0], p[1]}
	if _, err := unix.FcntlInt(uintptr(s.w), unix.F_SETPIPE_SZ, size); err != nil {
		s.close()
		return spare{}, fmt.Errorf("make a pipe of %d bytes: %w", size, err)
	}
	return s, nil
}

func (s spare) close() {
	unix.Close(s.r)
	unix.Close(s.w)
}

// teed gives a copy of a pipe with at least two places, so that there is one
// more when all but the last piece has been read.
func teed(fd, size, total int) (spare, error) {
	s, err := newSpare(max(size, 2*pageSize))
	if err != nil {
		return s, err
	}
	n, err := unix.Tee(fd, s.w, total, unix.SPLICE_F_NONBLOCK)
	if err == nil && int(n) != total {
		err = fmt.Errorf("%d of %d bytes were copied", n, total)
	}
	if err != nil {
		s.close()
		return s, fmt.Errorf("tee: %w", err)
	}
	return s, nil
}

// stream reads the data of a pipe without packets, and tells if it is one. A
// read ends at the end of a packet, and of a packet that is read in part the
// rest is gone: so everything up to the last byte is read at once, and the last
// byte together with one of ours that was written behind it.
func (q *queue) stream(fd, size, total int) (bool, error) {
	s, err := teed(fd, size, total)
	if err != nil {
		return false, err
	}
	defer s.close()
	if total > 1 {
		n, err := unix.Read(s.r, q.data[:total-1])
		if err != nil {
			return false, err
		}
		if left, err := unix.IoctlGetInt(s.r, unix.TIOCINQ); err != nil || n < total-1 || left != 1 {
			return false, err
		}
	}
	if _, err := unix.Write(s.w, []byte{0}); err != nil {
		return false, err
	}
	n, err := unix.Read(s.r, q.data[total-1:total+1])
	return n == 2, err
}

// pieces reads the data of a pipe with packets, place by place: each is moved
// into a pipe that has one place only, and from there to one where something of
// ours is put behind it, which a read of a packet does not reach.
func (q *queue) pieces(fd, size, total int) error {
	var pipes [3]spare
	var err error
	if pipes[0], err = teed(fd, size, total); err != nil {
		return err
	}
	defer pipes[0].close()
	for i := 1; i < 3; i++ {
		if pipes[i], err = newSpare(i * pageSize); err != nil {
			return err
		}
		defer pipes[i].close()
	}
	all, one, two := pipes[0], pipes[1], pipes[2]
	for at := 0; at < total; {
		n, err := unix.Splice(all.r, nil, one.w, nil, total, unix.SPLICE_F_NONBLOCK)
		if err != nil {
			return fmt.Errorf("splice: %w", err)
		}
		if _, err := unix.Splice(one.r, nil, two.w, nil, int(n), unix.SPLICE_F_NONBLOCK); err != nil {
			return fmt.Errorf("splice: %w", err)
		}
		if _, err := unix.Write(two.w, []byte{0}); err != nil {
			return err
		}
		got, err := unix.Read(two.r, q.data[at:at+int(n)+1])
		if err != nil {
			return err
		}
		packet := got == int(n)
		if packet {
			var b [1]byte
			if _, err := unix.Read(two.r, b[:]); err != nil {
				return err
			}
		}
		q.add(uint32(n), packet)
		at += int(n)
	}
	return nil
}

// add appends a piece; parts of a stream that follow each other are one.
func (q *queue) add(n uint32, packet bool) {
	next := uint32(len(q.packets))
	if !packet {
		if last := len(q.streams) - 1; last >= 0 && q.streams[last]+1 == next {
			q.packets[next-1] += n
			return
		}
		q.streams = append(q.streams, next)
	}
	q.packets = append(q.packets, n)
}
