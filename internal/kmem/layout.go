package kmem

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rethaw/rethaw/internal/private"
	"golang.org/x/sys/unix"
)

// layout says where members of the kernel's structures are. To look that up in the kernel's types
// takes some 10 ms, most of the time of a small checkpoint: it is kept for the next one, until
// the machine is booted with what may be another kernel.
type layout struct {
	// path is where it is kept, boot the boot that it belongs to.
	path, boot string
	types      *types
	found      found
	changed    bool
}

// found is what has been looked up; -1 stands for what this kernel does not have.
type found struct {
	Boot    string
	Sizes   map[string]int
	Offsets map[string]int
	// Places were found by doing, where the types do not tell.
	Places map[string]int
}

// missing marks what was looked for and is not there.
const missing = -1

// keepDir is only root's; who cannot write there looks everything up.
const keepDir = "/run/rethaw"

// openLayout takes what was found before in this boot.
func openLayout(dir string) *layout {
	l := &layout{path: filepath.Join(dir, "kernel-types")}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		l.boot = strings.TrimSpace(string(b))
	}
	l.found = l.read()
	return l
}

func (l *layout) read() found {
	fresh := found{Boot: l.boot, Sizes: map[string]int{}, Offsets: map[string]int{}, Places: map[string]int{}}
	b, err := ownText(l.path)
	if err != nil || l.boot == "" {
		return fresh
	}
	var kept found
	if json.Unmarshal(b, &kept) != nil || kept.Boot != l.boot || kept.Sizes == nil || kept.Offsets == nil || kept.Places == nil {
		return fresh
	}
	return kept
}

// ownText reads a file that nobody else can have written.
func ownText(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return nil, fmt.Errorf("%s: %w", path, os.ErrPermission)
	}
	return io.ReadAll(io.LimitReader(f, 1<<20))
}

// keep writes down what was found. Not to be able to costs time alone.
func (l *layout) keep() {
	if !l.changed || l.boot == "" || os.Geteuid() != 0 {
		return
	}
	b, err := json.Marshal(l.found)
	if err != nil || private.MkdirAll(filepath.Dir(l.path)) != nil {
		return
	}
	f, err := private.CreateTemp(filepath.Dir(l.path), "kernel-types-*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), l.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// kernelTypes reads the kernel's types when something has to be looked up.
func (l *layout) kernelTypes() (*types, error) {
	if l.types != nil {
		return l.types, nil
	}
	b, err := os.ReadFile(btfPath)
	if err != nil {
		return nil, err
	}
	if l.types, err = parseTypes(b); err != nil {
		return nil, fmt.Errorf("%s: %w", btfPath, err)
	}
	return l.types, nil
}

// size gives the size of a structure in bytes.
func (l *layout) size(name string) (int, error) {
	n, known := l.found.Sizes[name]
	if !known {
		t, err := l.kernelTypes()
		if err != nil {
			return 0, err
		}
		if _, n, err = t.Struct(name); err != nil {
			n = missing
		}
		l.found.Sizes[name], l.changed = n, true
	}
	if n == missing {
		return 0, fmt.Errorf("this kernel has no struct %s", name)
	}
	return n, nil
}

// offset gives the place of a member: "sock.sk_receive_queue".
func (l *layout) offset(field string) (int, error) {
	name, member, _ := strings.Cut(field, ".")
	n, known := l.found.Offsets[field]
	if !known {
		t, err := l.kernelTypes()
		if err != nil {
			return 0, err
		}
		n = missing
		if id, _, err := t.Struct(name); err == nil {
			if at, ok := t.Offset(id, member); ok {
				n = at
			}
		}
		l.found.Offsets[field], l.changed = n, true
	}
	if n == missing {
		return 0, fmt.Errorf("this kernel's struct %s has no %s", name, member)
	}
	return n, nil
}

// place gives what find finds out, which is true until the next boot.
func (l *layout) place(name string, find func() (int, error)) (int, error) {
	if at, known := l.found.Places[name]; known {
		return at, nil
	}
	at, err := find()
	if err == nil {
		l.found.Places[name], l.changed = at, true
	}
	return at, err
}
