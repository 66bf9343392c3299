package procfs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFile bounds in bytes what is read of one file. A million areas take some
// 700 MiB of smaps.
const maxFile = 1 << 30

// errTooBig is the cause of an Error for a file longer than maxFile.
var errTooBig = errors.New("longer than 1 GiB")

// path gives the name of a file of a task, or of /proc itself if pid is 0.
func path(pid int, name string) string {
	if pid == 0 {
		return "/proc/" + name
	}
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// ReadFile reads /proc/PID/NAME whole (/proc/NAME if pid is 0). The system calls
// are made directly: os.ReadFile asks for the size, which procfs does not know,
// and os.Open offers every file to the poller, which procfs refuses. An *Error
// names the file.
func ReadFile(pid int, name string) ([]byte, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(path(pid, name), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
	if err != nil {
		return nil, &Error{"open", pid, name, err}
	}
	defer unix.Close(fd)
	buffer := buffers.Get().(*buffer)
	defer buffers.Put(buffer)
	// A short read of a sequential file does not mean the end.
	b := buffer[:0]
	for {
		if len(b) == cap(b) {
			if cap(b) >= maxFile {
				return nil, &Error{"read", pid, name, errTooBig}
			}
			b = append(make([]byte, 0, 4*cap(b)), b...)
		}
		n, err := retry(func() (int, error) { return unix.Read(fd, b[len(b):cap(b)]) })
		if err != nil {
			return nil, &Error{"read", pid, name, err}
		}
		if n == 0 && cap(b) > len(buffer) {
			return b, nil
		}
		if n == 0 {
			return slices.Clone(b), nil
		}
		b = b[:len(b)+n]
	}
}

// buffer is what nearly every file of procfs fits into.
type buffer [32 << 10]byte

// buffers are those that nobody reads into at present.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

// retry repeats a system call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// read joins a file with its parser.
func read[T any](pid int, name string, parse func([]byte) (T, error)) (T, error) {
	b, err := ReadFile(pid, name)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := parse(b)
	if err != nil {
		return v, &Error{"parse", pid, name, err}
	}
	return v, nil
}

// task gives the name of a file of one thread, below /proc/PID.
func task(tid int, name string) string {
	return "task/" + strconv.Itoa(tid) + "/" + name
}

// Readlink reads a symbolic link of procfs ("exe", "cwd", "fd/3", "ns/pid",
// "map_files/..."). The text of a link to a deleted file ends in " (deleted)".
func Readlink(pid int, name string) (string, error) {
	s, err := os.Readlink(path(pid, name))
	if err != nil {
		return "", &Error{"readlink", pid, name, errors.Unwrap(err)}
	}
	return s, nil
}

// NamespaceID is the inode number of a namespace of the task, the one that its
// kin share: kind is the name of the link in /proc/PID/ns ("pid", "mnt", "net",
// "ipc", "uts", "user", "cgroup", "time", "pid_for_children"...). A zombie has
// pid and user only.
func NamespaceID(pid int, kind string) (uint64, error) {
	name := "ns/" + kind
	link, err := Readlink(pid, name)
	if err != nil {
		return 0, err
	}
	id, err := ParseNamespace(link)
	if err != nil {
		return 0, &Error{"parse", pid, name, err}
	}
	return id, nil
}

// PIDNamespace is the inode number of the pid namespace that the task is in.
func PIDNamespace(pid int) (uint64, error) { return NamespaceID(pid, "pid") }

// ParseNamespace takes the inode number from the text of a namespace link,
// "pid:[4026531836]".
func ParseNamespace(link string) (uint64, error) {
	b := []byte(link)
	for i, c := range b {
		if c == ':' && i > 0 && len(b) > i+3 && b[i+1] == '[' && b[len(b)-1] == ']' {
			if id, ok := parseUint(b[i+2:len(b)-1], 10); ok {
				return id, nil
			}
		}
	}
	return 0, badFile("namespace link", fmt.Sprintf("%q is not of the form kind:[number]", quotable(b)))
}
