package image

import (
	"golang.org/x/sys/unix"
)

// Prefetch asks the kernel to read the page and member files into its cache, in the order
// in which they are listed and not more than limit bytes. It does not wait for the disk, and
// what fails is left to those who read. A stream is read when it is asked for.
func (r *Reader) Prefetch(limit int64) {
	if r.dir == nil {
		return
	}
	for _, m := range r.members {
		size := min(m.Size, limit)
		if size <= 0 {
			return
		}
		limit -= size
		file, err := r.Member(m.Name)
		if err != nil {
			continue
		}
		_ = unix.Fadvise(int(file.Fd()), 0, size, unix.FADV_WILLNEED)
		file.Close()
	}
}
