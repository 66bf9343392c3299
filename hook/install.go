package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

// HooksDir is where podman, CRI-O and others look for hooks (oci-hooks(5)).
const HooksDir = "/usr/share/containers/oci/hooks.d"

// installed lists the stages at which the hook is called, in their order.
func installed() []string { return []string{"createRuntime", "createContainer", "poststop"} }

// program is the absolute path of this program, as a runtime has to call it.
func program() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding rethaw's own program: %w", err)
	}
	return filepath.EvalSymlinks(path)
}

// entry is the hook of one stage as it stands in a configuration.
func entry(program, stage string) runtimespec.Hook {
	return runtimespec.Hook{Path: program, Args: []string{"rethaw", "hook", stage}}
}

// ours tells whether a hook is rethaw's at a stage.
func ours(h runtimespec.Hook, stage string) bool {
	return len(h.Args) == 3 && h.Args[0] == "rethaw" && h.Args[1] == "hook" && h.Args[2] == stage
}

// Fragment is what a configuration needs for the hook, as JSON.
func Fragment() ([]byte, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	hooks := map[string][]runtimespec.Hook{}
	for _, stage := range installed() {
		hooks[stage] = []runtimespec.Hook{entry(path, stage)}
	}
	return json.MarshalIndent(map[string]any{"hooks": hooks}, "", "  ")
}

// definition is one file of a hooks directory (oci-hooks(5), version 1.0.0).
type definition struct {
	Version string           `json:"version"`
	Hook    runtimespec.Hook `json:"hook"`
	When    struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"when"`
	Stages []string `json:"stages"`
}

// fileName is that of one stage. Hooks are called in the order of their files' names.
func fileName(stage string) string { return "90-rethaw-" + stage + ".json" }

// Install writes the hook's definitions into a hooks directory, and returns their paths. An
// engine then adds the hook to each container with annotations of ours, and to no
// other.
func Install(dir string) ([]string, error) {
	path, err := program()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var written []string
	for _, stage := range installed() {
		d := definition{Version: "1.0.0", Hook: entry(path, stage), Stages: []string{stage}}
		d.When.Annotations = map[string]string{"^" + regexp.QuoteMeta(Prefix): ".*"}
		data, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			return written, err
		}
		name := filepath.Join(dir, fileName(stage))
		if err := replaceFile(name, append(data, '\n'), 0o644); err != nil {
			return written, err
		}
		written = append(written, name)
	}
	return written, nil
}

// Uninstall removes what Install wrote, and returns the paths of what was there.
func Uninstall(dir string) ([]string, error) {
	var removed []string
	for _, stage := range slices.Backward(installed()) {
		name := filepath.Join(dir, fileName(stage))
		err := os.Remove(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, name)
	}
	return removed, nil
}

// replaceFile writes a file in one step: who reads it sees the old or the new one.
func replaceFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}
