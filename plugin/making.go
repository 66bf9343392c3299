package plugin

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/internal/watchdog"
)

// making is a container that a runtime makes for a restore. From before it is made until it is
// restored a watchdog has it in its care: if we die, it is removed.
type making struct {
	dog    watchdog.Dog
	held   *Lock
	forget func() error
}

// begin has the watchdog take care. It keeps the lock of the name as well, so that nobody makes a
// container of this name while it removes ours.
func (m *making) begin(c commands, program, bundle, id string) error {
	if m == nil || m.dog.Launch == nil {
		return nil
	}
	// runc's state.json has the bundle in a label, crun's status as a member.
	files := map[string]struct{ name, before string }{"runc": {"state.json", `"bundle=`}, "crun": {"status", `"bundle": "`}}
	file, known := files[c.name]
	if !known {
		return nil
	}
	var err error
	m.forget, err = m.dog.Guard(watchdog.Undo{Remove: &watchdog.Remove{
		ID: id, Verbs: []string{"create", "start", "delete"},
		State:   filepath.Join(c.root, id, file.name),
		Mark:    file.before + bundle,
		Command: []string{program, "--root", c.root, "delete", "--force", id},
	}}, int(m.held.file.Fd()))
	return err
}

// done tells the watchdog that the container is restored, or is no more.
func (m *making) done() error {
	if m == nil || m.forget == nil {
		return nil
	}
	forget := m.forget
	m.forget = nil
	return forget()
}

// close lets the watchdog go, which removes what is not done.
func (m *making) close() {
	if m != nil {
		_ = m.dog.Close()
	}
}

// notStarted tells that a program failed to start, or that this could not be told: then it may
// be running.
func notStarted(err error) bool {
	var syscall *os.SyscallError
	var path *os.PathError
	return errors.As(err, &syscall) || errors.As(err, &path)
}
