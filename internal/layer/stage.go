package layer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// ErrBusy: a container runs in the filesystem, or another import changes it.
var ErrBusy = errors.New("the root filesystem is in use")

// Names in the directory of a stage.
const (
	newDir, oldDir = "new", "old"
	journalFile    = "journal"
)

// Stage has changes that are to be brought into a filesystem, in a directory at its top.
type Stage struct {
	root, dir *os.File
	name      string
	mount     uint64
	checker   checker
	entries   []staged
	// files are the names in newDir of files that have come.
	files map[string]string
	// journal is there from Apply on.
	journal *journal
}

// staged is one entry.
type staged struct {
	name string
	pax.Header
	// file is its name in newDir, "" for directories and whiteouts.
	file string
}

// NewStage prepares changes of the filesystem whose top is root, which nobody may
// use. What an import that died has left there is undone first.
func NewStage(root string) (*Stage, error) {
	top, err := openDir(root)
	if err != nil {
		return nil, err
	}
	s := &Stage{root: top, files: map[string]string{}}
	if err := s.make(); err != nil {
		s.close()
		return nil, fmt.Errorf("prepare changes of %s: %w", root, err)
	}
	return s, nil
}

func (s *Stage) make() error {
	if err := unused(s.root); err != nil {
		return err
	}
	if err := recoverAll(s.root); err != nil {
		return err
	}
	st, err := stat(s.root, "")
	if err != nil {
		return err
	}
	s.mount = st.Mnt_id
	// The name is not there: of those that died nothing is left, and a living one is
	// kept out by its lock.
	s.name = StagePrefix + strconv.Itoa(os.Getpid())
	if err := unix.Mkdirat(int(s.root.Fd()), s.name, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: s.name, Err: err}
	}
	if s.dir, err = open(s.root, s.name, unix.O_DIRECTORY); err != nil {
		return err
	}
	if err := unix.Flock(int(s.dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return os.NewSyscallError("flock", err)
	}
	// Access control lists that it has got from the top would go on to all files.
	was, err := attributes(s.dir)
	if err == nil {
		err = setAttributes(&pax.Header{Mode: 0o700, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}, was, s.dir)
	}
	if err != nil {
		return err
	}
	for _, n := range []string{newDir, oldDir} {
		if err := unix.Mkdirat(int(s.dir.Fd()), n, 0o700); err != nil {
			return &os.PathError{Op: "mkdir", Path: n, Err: err}
		}
	}
	// Making it has changed the time of the top. An undo sets it back.
	return unix.UtimesNanoAt(int(s.root.Fd()), "", times(st), unix.AT_EMPTY_PATH)
}

func times(st *unix.Statx_t) []unix.Timespec {
	return []unix.Timespec{{Sec: st.Atime.Sec, Nsec: int64(st.Atime.Nsec)}, {Sec: st.Mtime.Sec, Nsec: int64(st.Mtime.Nsec)}}
}

// Add takes an entry, whose name begins with prefix, and its data. What no export has is a
// pax.ErrFormat.
func (s *Stage) Add(e *pax.Entry, prefix string, data io.Reader) error {
	name, err := within(e.Name, prefix)
	if err != nil {
		return err
	}
	h := e.Header
	if h.Type == pax.HardLink {
		if h.Link, err = within(h.Link, prefix); err != nil {
			return err
		}
	}
	if err := s.checker.check(name, &h); err != nil {
		return err
	}
	one := staged{name: name, Header: h}
	if h.Type != pax.Directory && h.Type != pax.Whiteout {
		one.file = strconv.Itoa(len(s.entries))
		s.files[name] = one.file
		if err := s.put(&one, data); err != nil {
			return fmt.Errorf("/%s: %w", name, err)
		}
	}
	one.Data = nil
	s.entries = append(s.entries, one)
	return nil
}

// within is the name from the top of the filesystem.
func within(name, prefix string) (string, error) {
	if name == prefix {
		return ".", nil
	}
	inside, ok := strings.CutPrefix(name, prefix+"/")
	if !ok {
		return "", refuse(name, "is not below %s", prefix)
	}
	return inside, nil
}

// put makes the file of an entry in newDir.
func (s *Stage) put(one *staged, data io.Reader) error {
	dir, err := open(s.dir, newDir, unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer dir.Close()
	if one.Type == pax.HardLink {
		return unix.Linkat(int(dir.Fd()), s.files[one.Link], int(dir.Fd()), one.file, 0)
	}
	return one.Make(dir, one.file, data)
}

// Has tells whether the changes bring a file of that name, relative to the top.
func (s *Stage) Has(name string) bool { return s.files[path.Clean(name)] != "" }

// close gives the descriptors, and with them the lock, back.
func (s *Stage) close() {
	for _, f := range []*os.File{s.root, s.dir} {
		if f != nil {
			f.Close()
		}
	}
}
