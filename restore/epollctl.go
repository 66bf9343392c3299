package restore

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// eventSize is that of struct epoll_event, whose last 8 bytes are the data; it is
// packed on amd64.
const eventSize = int(unsafe.Sizeof(unix.EpollEvent{}))

// registration is a batch of epoll_ctl(2) in a task.
type registration struct {
	r     *restorer
	t     *task
	epoll int32
	// table is the task's; at is one number that each of its files has.
	table map[int32]specs.FD
	at    map[specs.ID]int32
	// spare is a number above all others.
	spare int32
	calls []inject.Call
	// of tells which watch a call registers, -1 for others.
	of []int
}

// register adds watches to an epoll instance, which task t has as descriptor fd.
func (r *restorer) register(t *task, fd int32, watches []specs.Watch) error {
	if len(watches) == 0 {
		return nil
	}
	g := &registration{r: r, t: t, epoll: fd, table: map[int32]specs.FD{}, at: map[specs.ID]int32{}, spare: fd}
	entries, err := r.table(t)
	if err != nil {
		return err
	}
	for _, e := range entries {
		g.table[e.Number], g.at[e.File] = e, e.Number
		g.spare = max(g.spare, e.Number)
	}
	for _, w := range watches {
		g.spare = max(g.spare, w.FD)
	}
	g.spare++
	lent, err := g.borrow(watches)
	if err != nil {
		return err
	}
	// As many at a time as have room for their events in the arena.
	for chunk := range slices.Chunk(watches, 1000) {
		if err := g.run(chunk); err != nil {
			return err
		}
	}
	return lent()
}

// borrow lends the task files that it does not have, above all its numbers, and
// returns what takes them away.
func (g *registration) borrow(watches []specs.Watch) (func() error, error) {
	var files []*os.File
	var ids []specs.ID
	wrong := false
	for _, w := range watches {
		wrong = wrong || g.table[w.FD].File != w.File
		if _, has := g.at[w.File]; has {
			continue
		}
		f := g.r.files.open[w.File]
		if f == nil {
			return nil, fmt.Errorf("file %d, which is watched, was not made", w.File)
		}
		g.at[w.File] = g.spare + 1 + int32(len(files))
		files, ids = append(files, f), append(ids, w.File)
	}
	if !wrong {
		return func() error { return nil }, nil
	}
	restoreLimit, err := g.r.roomFor(g.t, int(g.spare)+len(files)+3)
	if err != nil {
		return nil, err
	}
	numbers, err := g.r.send(g.t, files)
	if err != nil {
		return nil, err
	}
	// From the last on: what is moved away is never in the way of the next.
	for i := len(numbers) - 1; i >= 0; i-- {
		if err := g.r.moveFD(g.t, int32(numbers[i]), g.at[ids[i]]); err != nil {
			return nil, err
		}
	}
	return func() error {
		if len(files) > 0 {
			from := uint64(g.spare) + 1
			if _, err := g.r.call(g.t, unix.SYS_CLOSE_RANGE, from, from+uint64(len(files))-1, 0); err != nil {
				return err
			}
		}
		return restoreLimit()
	}, nil
}

// add appends a call; watch is the number of the watch that it registers.
func (g *registration) add(watch int, nr uint64, args ...uint64) {
	c := inject.Call{Nr: nr}
	copy(c.Args[:], args)
	g.calls, g.of = append(g.calls, c), append(g.of, watch)
}

// run registers some watches. Where another file has the number of a watch, or
// none has, the watched one gets it for the moment of the call: what an epoll
// instance remembers is the file and the number, not the descriptor.
func (g *registration) run(watches []specs.Watch) error {
	g.calls, g.of = g.calls[:0], g.of[:0]
	data, at := g.t.arena.Data()
	for i, w := range watches {
		off := i * eventSize
		clear(data[off : off+eventSize])
		putWord32(data[off:], w.Events)
		putWord(data[off+eventSize-8:], w.Data)
		number, spare := uint64(uint32(w.FD)), uint64(g.spare)
		now, taken := g.table[w.FD]
		same := taken && now.File == w.File
		if !same {
			if taken {
				g.add(-1, unix.SYS_DUP3, number, spare, unix.O_CLOEXEC)
			}
			g.add(-1, unix.SYS_DUP3, uint64(g.at[w.File]), number, unix.O_CLOEXEC)
		}
		g.add(i, unix.SYS_EPOLL_CTL, g.instance(w.FD, same), unix.EPOLL_CTL_ADD, number, at+uint64(off))
		switch {
		case same:
		case taken:
			flag := uint64(0)
			if now.CloExec {
				flag = unix.O_CLOEXEC
			}
			g.add(-1, unix.SYS_DUP3, spare, number, flag)
			g.add(-1, unix.SYS_CLOSE, spare)
		default:
			g.add(-1, unix.SYS_CLOSE, number)
		}
	}
	if err := g.r.run(g.t, g.calls, nil); err != nil {
		return err
	}
	for i, c := range g.calls {
		if c.Ret >= 0 {
			continue
		}
		errno := unix.Errno(-c.Ret)
		if g.of[i] < 0 {
			return fmt.Errorf("lend descriptor %d to %d: %w", c.Args[0], c.Args[1], errno)
		}
		if err := g.failed(&watches[g.of[i]], errno); err != nil {
			return err
		}
	}
	return nil
}

// instance is the number of the epoll instance while number fd has been taken
// for something else: it may have been the instance's own.
func (g *registration) instance(fd int32, same bool) uint64 {
	if fd == g.epoll && !same {
		return uint64(g.spare)
	}
	return uint64(g.epoll)
}

// failed decides about a watch that could not be registered. One of the
// container's stdin may be of a pipe no more, but of a file, which is always ready
// and cannot be watched (epoll_ctl(2), EPERM).
func (g *registration) failed(w *specs.Watch, errno unix.Errno) error {
	stdio, err := get[*specs.Stdio](g.r, w.File)
	if err == nil && errors.Is(errno, unix.EPERM) {
		g.r.log.WithField("was", stdio.Was).Warnf("descriptor %d of the fresh container cannot be watched: the program will not hear of it", stdio.Role)
		return nil
	}
	return fmt.Errorf("watch descriptor %d: %w", w.FD, errno)
}
