package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

// ErrState means that what a hook got on stdin is not the state of a container.
var ErrState = errors.New("not the state of a container")

// maxState bounds the state, most of which are annotations.
const maxState = 16 << 20

// readState reads the state that a runtime gives to its hooks
// (https://github.com/opencontainers/runtime-spec/blob/main/runtime.md#state).
func readState(r io.Reader) (*runtimespec.State, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("reading the container's state from stdin: %w", err)
	}
	if len(data) > maxState {
		return nil, fmt.Errorf("%w: more than %d bytes on stdin", ErrState, maxState)
	}
	s := new(runtimespec.State)
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%w on stdin, which a runtime calls hooks with: %w", ErrState, err)
	}
	switch {
	case s.Version == "":
		return nil, fmt.Errorf("%w on stdin: it has no ociVersion", ErrState)
	case s.ID == "" || s.ID == "." || s.ID == ".." || strings.ContainsAny(s.ID, "/\x00"):
		return nil, fmt.Errorf("%w on stdin: its id is %q", ErrState, s.ID)
	case !filepath.IsAbs(s.Bundle):
		return nil, fmt.Errorf("%w on stdin: its bundle %q is not an absolute path", ErrState, s.Bundle)
	case s.Pid < 0:
		return nil, fmt.Errorf("%w on stdin: its pid is %d", ErrState, s.Pid)
	}
	s.Bundle = filepath.Clean(s.Bundle)
	return s, nil
}

// config are the parts of a container's configuration that hooks look at.
type config struct {
	Annotations map[string]string   `json:"annotations"`
	Root        *runtimespec.Root   `json:"root"`
	Hooks       *runtimespec.Hooks  `json:"hooks"`
	Mounts      []runtimespec.Mount `json:"mounts"`
}

// readConfig reads the configuration of a bundle.
func readConfig(bundle string) (*config, error) {
	path := filepath.Join(bundle, configFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", bundle, err)
	}
	c := new(config)
	if err := json.Unmarshal(data, c); err != nil {
		return nil, fmt.Errorf("%s is not a container configuration: %w", path, err)
	}
	return c, nil
}

// configFile is the configuration's name in a bundle.
const configFile = "config.json"

// rootfs is the root filesystem of a bundle.
func (c *config) rootfs(bundle string) (string, error) {
	if c.Root == nil || c.Root.Path == "" {
		return "", fmt.Errorf("bundle %s: %s has no root.path", bundle, configFile)
	}
	return under(bundle, filepath.Clean(c.Root.Path)), nil
}

// wishes parses the annotations of a container. A runtime that gives none to its hooks may
// only not know how to: the configuration counts then.
func wishes(s *runtimespec.State) (*Wishes, error) {
	all := s.Annotations
	if all == nil {
		if c, err := readConfig(s.Bundle); err == nil {
			all = c.Annotations
		}
	}
	return ParseAnnotations(all)
}
