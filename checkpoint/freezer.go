package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rethaw/rethaw/internal/watchdog"
)

// freezer is one version of the cgroup freezer: a file and what is written into
// it (Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst).
type freezer struct{ file, freeze, thaw string }

var freezers = []freezer{
	{"freezer.state", "FROZEN", "THAWED"},
	{"cgroup.freeze", "1", "0"},
}

func findFreezer(dir string) (freezer, error) {
	for _, f := range freezers {
		if _, err := os.Stat(filepath.Join(dir, f.file)); err == nil {
			return f, nil
		}
	}
	return freezer{}, fmt.Errorf("no freezer in cgroup %s", dir)
}

// thaw lets the tasks of a paused target run into their stops. Should we die before refreeze, the
// watchdog pauses it again.
func (f *frozen) thaw(dir string) error {
	z, err := findFreezer(dir)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, z.file)
	if f.refrozen, err = f.dog.Guard(watchdog.Undo{Write: &watchdog.Write{Path: file, Text: z.freeze}}, -1); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(z.thaw), 0)
}

// refreeze pauses the target again. One that was never thawed is so still.
func (f *frozen) refreeze(dir string) error {
	if f.refrozen == nil {
		return nil
	}
	z, err := findFreezer(dir)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, z.file), []byte(z.freeze), 0); err != nil {
		return err
	}
	return f.forget()
}

// forget tells the watchdog that there is nothing to pause any more.
func (f *frozen) forget() error {
	if f.refrozen == nil {
		return nil
	}
	refrozen := f.refrozen
	f.refrozen = nil
	return refrozen()
}
