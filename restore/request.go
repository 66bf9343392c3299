package restore

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rethaw/rethaw/internal/ask"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// requestKind restores connections on which a program waits for the answer to its
// request for this image: it finds there that it is a copy. Who answered at the
// checkpoint is not needed for that.
func requestKind() fileKind {
	return fileKind{
		record: &specs.Request{},
		open: func(r *restorer, _ specs.ID, rec specs.File) (*os.File, error) {
			line, err := r.answer()
			if err != nil {
				return nil, err
			}
			return answered(rec.(*specs.Request), line)
		},
	}
}

// readEnviron keeps the environment which the runtime gave to the placeholder, as long as that
// has it.
func (r *restorer) readEnviron() (err error) {
	if r.environ, err = os.ReadFile(r.root.procPath("environ")); err != nil {
		return fmt.Errorf("environment of the fresh container: %w", err)
	}
	return nil
}

// answer is the line for a copy.
func (r *restorer) answer() ([]byte, error) {
	a := ask.Answer{Result: ask.Restored, Environment: map[string]string{}}
	for line := range strings.SplitSeq(strings.TrimRight(string(r.environ), "\x00"), "\x00") {
		if name, value, ok := strings.Cut(line, "="); ok {
			a.Environment[name] = value
		}
	}
	line, err := json.Marshal(a)
	return append(line, '\n'), err
}

// answered makes a connection with a line in it, whose other end is closed.
func answered(rec *specs.Request, line []byte) (f *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f = os.NewFile(uintptr(fds[0]), "request to rethaw")
	other := os.NewFile(uintptr(fds[1]), "answer")
	defer func() {
		if err = errors.Join(err, other.Close()); err != nil {
			f.Close()
			f = nil
		}
	}()
	// An environment may be large; twice its size is what the kernel accounts.
	if err := unix.SetsockoptInt(fds[1], unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 2*len(line)+4096); err != nil {
		return f, os.NewSyscallError("setsockopt(SO_SNDBUFFORCE)", err)
	}
	if n, err := unix.Write(fds[1], line); err != nil || n != len(line) {
		return f, fmt.Errorf("answer of %d bytes, %d written: %w", len(line), n, err)
	}
	if err := setSocketOptions(fds[0], rec.Options); err != nil {
		return f, err
	}
	if rec.Shutdown != 0 {
		// The numbers are one less than those of the kernel's own mask.
		if err := unix.Shutdown(fds[0], int(rec.Shutdown)-1); err != nil {
			return f, os.NewSyscallError("shutdown", err)
		}
	}
	return f, setBase(f, &rec.Description, false)
}
