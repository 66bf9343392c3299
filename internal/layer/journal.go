package layer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// step is one change of the filesystem, as the journal has it. Paths are from the top.
type step struct {
	// Path is where the change is.
	Path string `json:"path"`
	// Aside is the name in oldDir to which the file is moved.
	Aside string `json:"aside,omitempty"`
	// New is set if a file, or a directory, is made where none is.
	New bool `json:"new,omitempty"`
	// Attributes are those that a directory has before it gets others.
	Attributes *pax.Header `json:"attributes,omitempty"`
	// Back is set when changes are taken back: of all steps so many are in force, the last of which is
	// being taken back.
	Back int `json:"back,omitempty"`
	// Done is set in the last step: the changes stay, whatever becomes of the process.
	Done bool `json:"done,omitempty"`
}

// journal is the list of the steps that are in force. It is written for a process that
// dies, not for a machine that does: nothing is synced.
type journal struct {
	file  *os.File
	steps []step
}

func newJournal(dir *os.File) (*journal, error) {
	fd, err := unix.Openat(int(dir.Fd()), journalFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: journalFile, Err: err}
	}
	return &journal{file: os.NewFile(uintptr(fd), journalFile)}, nil
}

// begin tells of a step before it is done.
func (j *journal) begin(one step) error {
	if err := j.write(one); err != nil {
		return err
	}
	j.steps = append(j.steps, one)
	return nil
}

// back tells that the last step is taken back.
func (j *journal) back() (step, error) {
	last := len(j.steps) - 1
	return j.steps[last], j.write(step{Path: ".", Back: last + 1})
}

func (j *journal) write(one step) error {
	line, err := json.Marshal(journaled(one))
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	return nil
}

// valid refuses a step that no import writes: the journal lies in a root filesystem, and who runs there
// may have written it.
func (one step) valid() error {
	if err := checkName(one.Path); err != nil {
		return err
	}
	for _, c := range one.Aside {
		if c < '0' || c > '9' {
			return fmt.Errorf("the name %.60q is none", one.Aside)
		}
	}
	return nil
}

// openJournal opens what a dead process has left, nil if it had not begun. A last line that was cut
// off belongs to a step that was not begun.
func openJournal(dir *os.File) (*journal, error) {
	fd, err := unix.Openat(int(dir.Fd()), journalFile, unix.O_RDWR|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: journalFile, Err: err}
	}
	j := &journal{file: os.NewFile(uintptr(fd), journalFile)}
	size, err := j.read()
	if err == nil {
		err = j.file.Truncate(size)
	}
	if err != nil {
		j.file.Close()
		return nil, fmt.Errorf("read the journal of a dead import: %w", err)
	}
	return j, nil
}

// read reads the whole lines and returns their size in bytes.
func (j *journal) read() (size int64, err error) {
	for r := bufio.NewReader(j.file); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return 0, err
		}
		size += int64(len(line))
		one := step{}
		if err := json.Unmarshal(line, &one); err != nil {
			return 0, err
		}
		one = unjournaled(one)
		switch {
		case one.Back < 0 || one.Back > len(j.steps):
			return 0, fmt.Errorf("it takes back %d of %d steps", one.Back, len(j.steps))
		case one.Back > 0:
			j.steps = j.steps[:one.Back]
			continue
		}
		if err := one.valid(); err != nil {
			return 0, err
		}
		j.steps = append(j.steps, one)
	}
}

// done tells whether the changes are to stay.
func (j *journal) done() bool { return len(j.steps) > 0 && j.steps[len(j.steps)-1].Done }
