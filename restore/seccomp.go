package restore

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// seccomp installs the filters that the program had installed itself; those of
// the runtime are there already. None binds until the release: we have them
// suspended.
func (r *restorer) seccomp(t *task, th *thread) error {
	s := th.rec.Seccomp
	if s == nil {
		return nil
	}
	now, err := th.status()
	if err != nil {
		return err
	}
	if s.Mode == 1 {
		_, err := r.callThread(t, th, unix.SYS_SECCOMP, 0, 0, 0)
		return err
	}
	if now.SeccompFilters > len(s.Filters) {
		return fmt.Errorf("%w: the fresh container has %d seccomp filters, the image %d; use the same configuration", ErrUnfit, now.SeccompFilters, len(s.Filters))
	}
	// Those at the front must be the runtime's on both sides: one of the program's own
	// would be taken for the runtime's, and left out.
	if !r.img.Header().Host && now.SeccompFilters != s.Inherited {
		return fmt.Errorf("%w: the fresh container's runtime installs %d seccomp filters, the image's did %d; use the same configuration",
			ErrUnfit, now.SeccompFilters, s.Inherited)
	}
	for _, f := range s.Filters[now.SeccompFilters:] {
		data, at := t.arena.Data()
		const progOff = 64
		// struct sock_fprog: length in instructions, pointer.
		clear(data[:16])
		putWord32(data, uint32(len(f.Program)/8))
		putWord(data[8:], at+progOff)
		copy(data[progOff:], f.Program)
		const setModeFilter = 1
		if _, err := r.callThread(t, th, unix.SYS_SECCOMP, setModeFilter, f.Flags, at); err != nil {
			return fmt.Errorf("install seccomp filter: %w", err)
		}
	}
	return nil
}

// callThread makes one system call in a thread.
func (r *restorer) callThread(t *task, th *thread, nr uint64, args ...uint64) (int64, error) {
	var b batch
	b.add("system call", nr, args...)
	err := b.run(t, th)
	return b.calls[0].Ret, err
}
