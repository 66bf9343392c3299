package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

// ErrConfig means that a configuration cannot be edited.
var ErrConfig = errors.New("cannot edit the configuration")

// Add adds the hook, and annotations, to the configuration of a bundle. What is there
// already stays once; all else in the file stays as it is, to the byte. It tells whether
// anything had to be changed.
func Add(bundle string, add map[string]string) (bool, error) {
	path, err := program()
	if err != nil {
		return false, err
	}
	return edit(bundle, func(doc []byte) ([]byte, error) {
		doc, err := editAnnotations(doc, func(all *object) error {
			for _, key := range slices.Sorted(maps.Keys(add)) {
				value, err := json.Marshal(add[key])
				if err != nil {
					return err
				}
				all.set(key, value)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for _, stage := range installed() {
			doc, err = editStage(doc, stage, func(list []json.RawMessage) ([]json.RawMessage, error) {
				return addHook(list, entry(path, stage), stage)
			})
			if err != nil {
				return nil, err
			}
		}
		return doc, nil
	})
}

// Remove takes the hook out of the configuration of a bundle, and with annotations
// set all annotations of ours as well.
func Remove(bundle string, annotations bool) (bool, error) {
	return edit(bundle, func(doc []byte) (_ []byte, err error) {
		for _, stage := range slices.Sorted(maps.Keys(stages())) {
			doc, err = editStage(doc, stage, func(list []json.RawMessage) ([]json.RawMessage, error) {
				return slices.DeleteFunc(list, func(raw json.RawMessage) bool { return isOurs(raw, stage) }), nil
			})
			if err != nil {
				return nil, err
			}
		}
		if !annotations {
			return doc, nil
		}
		return editAnnotations(doc, func(all *object) error {
			for _, key := range all.keys() {
				if strings.HasPrefix(key, Prefix) {
					all.remove(key)
				}
			}
			return nil
		})
	})
}

// edit changes a bundle's configuration in one step, keeping its mode and owner.
func edit(bundle string, change func([]byte) ([]byte, error)) (bool, error) {
	// Whoever made it a link wants the file changed that it leads to.
	path, err := filepath.EvalSymlinks(filepath.Join(bundle, configFile))
	if err != nil {
		return false, fmt.Errorf("%w: name the directory of a bundle: %w", ErrConfig, err)
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	doc, err := change(bytes.Clone(old))
	if err != nil {
		return false, fmt.Errorf("%w %s: %w", ErrConfig, path, err)
	}
	if bytes.Equal(doc, old) {
		return false, nil
	}
	var whole struct {
		Annotations map[string]string  `json:"annotations"`
		Hooks       *runtimespec.Hooks `json:"hooks"`
	}
	if err := json.Unmarshal(doc, &whole); err != nil {
		return false, fmt.Errorf("%w %s: %w", ErrConfig, path, err)
	}
	if _, err := ParseAnnotations(whole.Annotations); err != nil {
		return false, err
	}
	if err := replaceFile(path, doc, info.Mode().Perm()); err != nil {
		return false, err
	}
	return true, chownAs(path, info)
}

// chownAs gives a file the owner that it had before.
func chownAs(path string, was fs.FileInfo) error {
	st, ok := was.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

// editAnnotations changes the annotations of a configuration.
func editAnnotations(doc []byte, change func(*object) error) ([]byte, error) {
	return within(doc, "annotations", change)
}

// editStage changes the list of hooks of a stage. An empty list is taken away.
func editStage(doc []byte, stage string, change func([]json.RawMessage) ([]json.RawMessage, error)) ([]byte, error) {
	return within(doc, "hooks", func(hooks *object) error {
		var list []json.RawMessage
		raw := hooks.get(stage)
		if raw != nil {
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("hooks.%s: %w", stage, err)
			}
		}
		before := len(list)
		changed, err := change(slices.Clone(list))
		if err != nil {
			return err
		}
		same := len(changed) == before && slices.EqualFunc(changed, list, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
		switch {
		case same:
		case len(changed) == 0:
			hooks.remove(stage)
		default:
			text, err := json.Marshal(changed)
			if err != nil {
				return err
			}
			hooks.set(stage, text)
		}
		return nil
	})
}

// addHook adds our hook to a list, or brings the one that is there up to date.
func addHook(list []json.RawMessage, h runtimespec.Hook, stage string) ([]json.RawMessage, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	found := false
	for i, raw := range list {
		if !isOurs(raw, stage) {
			continue
		}
		var have runtimespec.Hook
		if err := json.Unmarshal(raw, &have); err != nil {
			return nil, err
		}
		// One with a time limit or variables of its own keeps them.
		if !found && have.Path != h.Path {
			have.Path = h.Path
			if list[i], err = json.Marshal(have); err != nil {
				return nil, err
			}
		}
		found = true
	}
	if !found {
		list = append(list, text)
	}
	return list, nil
}

// isOurs tells whether a hook of a list is rethaw's.
func isOurs(raw json.RawMessage, stage string) bool {
	var h runtimespec.Hook
	return json.Unmarshal(raw, &h) == nil && ours(h, stage)
}
