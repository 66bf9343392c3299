package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Docker is dockerd. It keeps what it knows of a container in DATA/containers/ID, its name
// among it, and has containerd run it in the namespace moby.
type Docker struct {
	data   string
	states []string
}

// NewDocker returns the engine for a data directory (dockerd's --data-root), "" for
// docker's own.
func NewDocker(data string) *Docker {
	if data == "" {
		data = "/var/lib/docker"
	}
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	return &Docker{data: data, states: containerdStates("")}
}

// Name implements Engine.
func (d *Docker) Name() string { return "docker" }

// Find implements Engine: by name, id, or the beginning of an id.
func (d *Docker) Find(ctx context.Context, name string) ([]Container, error) {
	if !validID(name) {
		return nil, nil
	}
	all, err := d.known()
	if err != nil {
		return nil, err
	}
	var begin []dockerConfig
	for _, c := range all {
		if c.ID == name || c.name() == name {
			return d.load(ctx, []dockerConfig{c})
		}
		if strings.HasPrefix(c.ID, name) {
			begin = append(begin, c)
		}
	}
	return d.load(ctx, begin)
}

// List implements Engine.
func (d *Docker) List(ctx context.Context) ([]Container, error) {
	all, err := d.known()
	if err != nil {
		return nil, err
	}
	return d.load(ctx, all)
}

// Create implements Engine.
func (d *Docker) Create(context.Context, Spec) (Fresh, error) { return nil, d.cannot() }

// cannot implements unable.
func (d *Docker) cannot() error { return notMade("docker") }

// dockerConfig are the fields of docker's config.v2.json that matter here.
type dockerConfig struct {
	ID      string    `json:"ID"`
	Name    string    `json:"Name"`
	Created time.Time `json:"Created"`
}

// name is the name without the slash that docker puts before it.
func (c *dockerConfig) name() string { return strings.TrimPrefix(c.Name, "/") }

// parseDockerConfig decodes a config.v2.json.
func parseDockerConfig(data []byte) (dockerConfig, error) {
	var c dockerConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return c, err
	}
	if !validID(c.ID) {
		return c, fmt.Errorf("the id %q is none", c.ID)
	}
	return c, nil
}

// known reads what docker knows of all its containers.
func (d *Docker) known() ([]dockerConfig, error) {
	files, err := filepath.Glob(filepath.Join(d.data, "containers", "*", "config.v2.json"))
	if err != nil {
		return nil, err
	}
	var all []dockerConfig
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var c dockerConfig
		if err == nil {
			c, err = parseDockerConfig(data)
		}
		if err != nil {
			return nil, fmt.Errorf("docker's configuration of a container, %s: %w", file, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// load finds the tasks of containers.
func (d *Docker) load(ctx context.Context, asked []dockerConfig) ([]Container, error) {
	bundles, err := taskBundles(d.states, dockerNamespace)
	if err != nil {
		return nil, err
	}
	var found []Container
	for _, c := range asked {
		one := &task{who: Candidate{Engine: "docker", ID: c.ID, Name: c.name(), Root: d.data, Created: c.Created}}
		for _, bundle := range bundles {
			if filepath.Base(bundle) != c.ID {
				continue
			}
			one.bundle = bundle
			if one.under, err = shimState(ctx, bundle); err != nil {
				return found, err
			}
		}
		found = append(found, one)
	}
	return found, nil
}
