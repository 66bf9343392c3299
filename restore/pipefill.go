package restore

import (
	"errors"
	"fmt"
	"os"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// fillPipe gives a pipe its size and what was in it, through a descriptor that
// does not block.
func (r *restorer) fillPipe(w *os.File, ends []pipeEnd) error {
	if err := resize(w, int(ends[0].pipe.Size)); err != nil {
		return err
	}
	for _, e := range ends {
		if !e.pipe.Holds {
			continue
		}
		data, err := r.pipeData(e.pipe)
		if err != nil {
			return err
		}
		return putPieces(w, data, e.pipe)
	}
	return nil
}

func resize(w *os.File, size int) error {
	now, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil || size == 0 || now == size {
		return err
	}
	_, err = unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, size)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("set size %d: %w; raise /proc/sys/fs/pipe-max-size", size, err)
	}
	if err != nil {
		return fmt.Errorf("set size %d: %w", size, err)
	}
	return nil
}

// pipeData reads what was in a pipe.
func (r *restorer) pipeData(rec *specs.Pipe) ([]byte, error) {
	if rec.Length == 0 {
		return rec.Data, nil
	}
	if rec.Length > uint64(max(rec.Size, 0))*pageSize {
		return nil, fmt.Errorf("%d bytes in a pipe of size %d", rec.Length, rec.Size)
	}
	data := make([]byte, rec.Length)
	return data, r.img.Extents(rec.Pages, func(start uint64, b []byte) error {
		if start >= rec.Length {
			return fmt.Errorf("data at %d of %d bytes", start, rec.Length)
		}
		copy(data[start:], b)
		return nil
	})
}

// putPieces writes the data of a pipe, packets as packets: each write is one in
// a pipe with O_DIRECT (pipe(2)).
func putPieces(w *os.File, data []byte, rec *specs.Pipe) error {
	if len(rec.Packets) == 0 {
		return putAll(w, data)
	}
	now, err := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	streams := rec.Streams
	for i, length := range rec.Packets {
		if uint64(length) > uint64(len(data)) {
			return errors.New("the pieces of a pipe are longer than its data")
		}
		want := now | unix.O_DIRECT
		if len(streams) > 0 && streams[0] == uint32(i) {
			want, streams = now&^unix.O_DIRECT, streams[1:]
		}
		if want != now {
			if _, err := unix.FcntlInt(w.Fd(), unix.F_SETFL, want); err != nil {
				return fmt.Errorf("set packet mode: %w", err)
			}
			now = want
		}
		put := putAll
		if want&unix.O_DIRECT == 0 && i+1 < len(rec.Packets) {
			put = putApart
		}
		if err := put(w, data[:length]); err != nil {
			return err
		}
		data = data[length:]
	}
	if len(data) > 0 {
		return errors.New("the pieces of a pipe are shorter than its data")
	}
	return nil
}

// putApart puts a part of a stream into a pipe so that a packet that is written
// next does not become a part of it, as the kernel has it if there is room in the
// page (fs/pipe.c): to a page that came by tee(2) nothing is added.
func putApart(w *os.File, data []byte) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return err
	}
	defer unix.Close(fds[0])
	own := os.NewFile(uintptr(fds[1]), "pipe")
	defer own.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0)
	if err != nil {
		return err
	}
	if err := resize(own, size); err != nil {
		return err
	}
	if err := putAll(own, data); err != nil {
		return err
	}
	n, err := unix.Tee(fds[0], int(w.Fd()), len(data), unix.SPLICE_F_NONBLOCK)
	if err == nil && int(n) != len(data) {
		err = fmt.Errorf("%d of them fit", n)
	}
	if err != nil {
		return fmt.Errorf("put %d bytes: %w", len(data), err)
	}
	return nil
}

func putAll(w *os.File, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(int(w.Fd()), data)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("put %d bytes: %w", len(data), err)
		}
		data = data[n:]
	}
	return nil
}
