package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
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

func thaw(dir string) error {
	f, err := findFreezer(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, f.file), []byte(f.thaw), 0)
}

func refreeze(dir string) error {
	f, err := findFreezer(dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, f.file), []byte(f.freeze), 0)
}
