package restore

import (
	"encoding/binary"
	"slices"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// handlers sets the dispositions of signals.
func (r *restorer) handlers(t *task) error {
	data, at := t.arena.Data()
	var b batch
	const size = 32
	for i, h := range t.rec.Handlers {
		off := i * size
		putWord(data[off:], h.Handler)
		putWord(data[off+8:], h.Flags)
		putWord(data[off+16:], h.Restorer)
		putWord(data[off+24:], h.Mask)
		b.add("set handler", unix.SYS_RT_SIGACTION, uint64(h.Signal), at+uint64(off), 0, 8)
	}
	// What is not listed has the default, whatever the placeholder inherited.
	listed := map[int32]bool{int32(unix.SIGKILL): true, int32(unix.SIGSTOP): true}
	for _, h := range t.rec.Handlers {
		listed[h.Signal] = true
	}
	zero := len(t.rec.Handlers) * size
	clear(data[zero : zero+size])
	for sig := int32(1); sig <= 64; sig++ {
		if !listed[sig] {
			b.add("set default handler", unix.SYS_RT_SIGACTION, uint64(sig), at+uint64(zero), 0, 8)
		}
	}
	return b.run(t, t.threads[0])
}

// queue puts pending signals back, with what they carry. Only a task itself may
// queue every kind (rt_sigqueueinfo(2)). All signals are blocked meanwhile. There may be as
// many as RLIMIT_SIGPENDING lets wait.
func (r *restorer) queue(t *task, th *thread, pending []specs.Siginfo, shared bool) error {
	data, _ := t.arena.Data()
	for some := range slices.Chunk(pending, len(data)/siginfoSize) {
		if err := r.queueSome(t, th, some, shared); err != nil {
			return err
		}
	}
	return nil
}

// siginfoSize is SI_MAX_SIZE, the bytes of a siginfo_t (asm-generic/siginfo.h).
const siginfoSize = 128

// queueSome queues as many as the arena has room for.
func (r *restorer) queueSome(t *task, th *thread, pending []specs.Siginfo, shared bool) error {
	data, at := t.arena.Data()
	var b batch
	for i, info := range pending {
		off := i * len(info)
		copy(data[off:], info)
		signal := uint64(binary.LittleEndian.Uint32(info))
		pid := uint64(t.rec.PID)
		if shared {
			b.add("queue signal", unix.SYS_RT_SIGQUEUEINFO, pid, signal, at+uint64(off))
		} else {
			b.add("queue signal", unix.SYS_RT_TGSIGQUEUEINFO, pid, uint64(th.rec.TID), signal, at+uint64(off))
		}
	}
	return b.run(t, th)
}

// drain takes off what was queued while the tree was made, such as SIGCHLD of
// helpers that ended.
func (r *restorer) drain(t *task) error {
	data, at := t.arena.Data()
	for range 4096 {
		putWord(data, ^uint64(0))
		clear(data[8:24])
		n, err := r.call(t, unix.SYS_RT_SIGTIMEDWAIT, at, 0, at+8, 8)
		if err == unix.EAGAIN || n <= 0 {
			return nil
		}
	}
	return nil
}
