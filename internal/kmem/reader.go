package kmem

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Reader reads kernel memory.
type Reader struct {
	small, large, gather *program
	layout               *layout
	// stopped are the task_structs of the threads that States has met, by their numbers.
	stopped map[int]uint64
	pages
}

// largeSize is how much one run copies at most: half of a BPF program's stack.
const largeSize = 256

// btfPath is where the kernel tells its types.
const btfPath = "/sys/kernel/btf/vmlinux"

// Open prepares for reading.
func Open() (*Reader, error) {
	r := &Reader{layout: openLayout(keepDir)}
	if err := r.open(); err != nil {
		r.Close()
		return nil, fmt.Errorf("read kernel memory: %w", err)
	}
	return r, nil
}

func (r *Reader) open() error {
	var err error
	if r.small, err = readProgram(8); err != nil {
		return err
	}
	if r.large, err = readProgram(largeSize); err != nil {
		return err
	}
	task, err := taskProgram()
	if err != nil {
		return err
	}
	defer task.close()
	if err := task.run(); err != nil {
		return err
	}
	// The first thread lives as long as we do.
	r.task, err = r.Follow(binary.NativeEndian.Uint64(task.room), "task_struct.group_leader")
	return err
}

// Close gives up what the reader holds.
func (r *Reader) Close() {
	r.layout.keep()
	r.small.close()
	r.large.close()
	r.gather.close()
}

// Word reads 8 bytes, Half 4.
func (r *Reader) Word(addr uint64) (uint64, error) {
	binary.NativeEndian.PutUint64(r.small.room, addr)
	if err := r.small.run(); err != nil {
		return 0, fmt.Errorf("%#x: %w", addr, err)
	}
	return binary.NativeEndian.Uint64(r.small.room), nil
}

// Half reads 4 bytes.
func (r *Reader) Half(addr uint64) (uint32, error) {
	v, err := r.Bytes(addr, 4)
	if err != nil {
		return 0, err
	}
	return binary.NativeEndian.Uint32(v), nil
}

// Bytes reads any number of bytes.
func (r *Reader) Bytes(addr uint64, size int) ([]byte, error) {
	b := make([]byte, 0, size)
	for len(b) < size {
		at, left := addr+uint64(len(b)), size-len(b)
		// Never over the end of a page: what is behind may not be mapped.
		p := r.large
		if at%largeSize != 0 || left < largeSize {
			p = r.small
		}
		n := len(p.room)
		begin := at
		if p == r.small {
			begin = at &^ 7
		}
		binary.NativeEndian.PutUint64(p.room, begin)
		if err := p.run(); err != nil {
			return nil, fmt.Errorf("%#x: %w", begin, err)
		}
		b = append(b, p.room[at-begin:min(n, int(at-begin)+left)]...)
	}
	return b, nil
}

// Offset gives the place of a member: "sock.sk_receive_queue".
func (r *Reader) Offset(field string) (uint64, error) {
	off, err := r.layout.offset(field)
	return uint64(off), err
}

// Size gives the size of a structure in bytes.
func (r *Reader) Size(name string) (int, error) { return r.layout.size(name) }

// Follow goes from address to address: each step is a member of a structure,
// which is a pointer to the next. The last may end in "&": its address is wanted.
func (r *Reader) Follow(addr uint64, steps ...string) (uint64, error) {
	for _, step := range steps {
		field, address := strings.CutSuffix(step, "&")
		off, err := r.Offset(field)
		if err != nil {
			return 0, err
		}
		addr += off
		if address {
			continue
		}
		if addr, err = r.Word(addr); err != nil {
			return 0, fmt.Errorf("%s: %w", step, err)
		}
	}
	return addr, nil
}

// Level tells how deep our pid namespace is nested: the index of our numbers in
// the array of a struct pid.
func (r *Reader) Level() (int, error) {
	at, err := r.Follow(r.task, "task_struct.thread_pid", "pid.level&")
	if err != nil {
		return 0, err
	}
	n, err := r.Half(at)
	return int(n), err
}

// File gives the struct file of a descriptor of ours.
func (r *Reader) File(fd int) (uint64, error) {
	// The table moves when it grows: it is looked up each time.
	table, err := r.Follow(r.task, "task_struct.files", "files_struct.fdt", "fdtable.fd")
	if err != nil {
		return 0, err
	}
	return r.Word(table + 8*uint64(fd))
}

// Private gives what a file's private_data leads to.
func (r *Reader) Private(fd int) (uint64, error) {
	file, err := r.File(fd)
	if err != nil {
		return 0, err
	}
	return r.Follow(file, "file.private_data")
}
