package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// storage is one of podman's stores, as containers-storage(5) tells of it: the
// directories of what lasts and of what ends with the host's run.
type storage struct {
	// graph is "--root" and run "--runroot" of podman; run may be "".
	graph, run string
	// given is set if podman must be told of it by its --root.
	given bool
}

// podmanStorage returns the store in root, or podman's own if root is "": that of
// the first storage.conf, and the one that is built in.
func podmanStorage(root string) storage {
	if root != "" {
		if abs, err := filepath.Abs(root); err == nil {
			root = abs
		}
		return storage{graph: root, given: true}
	}
	s := storage{graph: "/var/lib/containers/storage", run: "/run/containers/storage"}
	files := []string{"/etc/containers/storage.conf", "/usr/share/containers/storage.conf"}
	if own := os.Getenv("CONTAINERS_STORAGE_CONF"); own != "" {
		files = []string{own}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if graph := tomlString(text, "storage", "graphroot"); graph != "" {
			s.graph = filepath.Clean(graph)
		}
		if run := tomlString(text, "storage", "runroot"); run != "" {
			s.run = filepath.Clean(run)
		}
		break
	}
	return s
}

// tomlString returns the value of a key that is a plain string in a table of a TOML
// file, "" if it is not there.
func tomlString(text []byte, table, key string) string {
	current := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			current, _, _ = strings.Cut(name, "]")
			current = strings.TrimSpace(current)
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || current != table || strings.TrimSpace(name) != key {
			continue
		}
		value = strings.TrimSpace(value)
		if value == "" || (value[0] != '"' && value[0] != '\'') {
			return ""
		}
		if value, _, ok = strings.Cut(value[1:], value[:1]); ok {
			return value
		}
	}
	return ""
}

// stored is one container in a store's containers.json.
type stored struct {
	ID      string    `json:"id"`
	Names   []string  `json:"names"`
	Created time.Time `json:"created"`

	// dir is the container's directory in the store: DRIVER-containers/ID.
	dir string
}

// name is the first name, under which podman shows the container.
func (s *stored) name() string {
	if len(s.Names) == 0 {
		return ""
	}
	return s.Names[0]
}

// bundle is where podman puts config.json.
func (s *stored) bundle() string { return filepath.Join(s.dir, "userdata") }

// containers reads the store. Containers made with --rm are in a list of their own in
// newer versions, beside the others or in the run directory.
func (s storage) containers() ([]stored, error) {
	var all []stored
	for _, dir := range []string{s.graph, s.run} {
		if dir == "" {
			continue
		}
		lists, err := filepath.Glob(filepath.Join(dir, "*-containers", "*containers.json"))
		if err != nil {
			return nil, err
		}
		for _, list := range lists {
			data, err := os.ReadFile(list)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("podman's list of containers: %w", err)
			}
			found, err := parseStored(data)
			if err != nil {
				return nil, fmt.Errorf("podman's list of containers %s: %w", list, err)
			}
			for _, c := range found {
				c.dir = filepath.Join(s.graph, filepath.Base(filepath.Dir(list)), c.ID)
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// parseStored decodes a containers.json.
func parseStored(data []byte) ([]stored, error) {
	var found []stored
	if len(data) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, err
	}
	for _, c := range found {
		if !validID(c.ID) {
			return nil, fmt.Errorf("the id %q is none", c.ID)
		}
	}
	return found, nil
}

// match returns the containers that a name may mean, as podman takes it: the one with
// this name or id, or all whose id begins so.
func match(all []stored, name string) []stored {
	var begin []stored
	for _, c := range all {
		if c.ID == name || slices.Contains(c.Names, name) {
			return []stored{c}
		}
		if strings.HasPrefix(c.ID, name) {
			begin = append(begin, c)
		}
	}
	return begin
}
