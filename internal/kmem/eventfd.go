package kmem

import "golang.org/x/sys/unix"

// EventfdSemaphore tells whether an eventfd of ours was made with EFD_SEMAPHORE (eventfd(2)), which fdinfo shows since Linux
// 6.5 alone.
func (r *Reader) EventfdSemaphore(fd int) (bool, error) {
	context, err := r.Private(fd)
	if err != nil {
		return false, err
	}
	off, err := r.Offset("eventfd_ctx.flags")
	if err != nil {
		return false, err
	}
	flags, err := r.Half(context + off)
	return flags&unix.EFD_SEMAPHORE != 0, err
}
