package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Containerd is containerd, for ctr, nerdctl and Kubernetes. Its shims keep the bundle of each
// task in STATE/io.containerd.runtime.VERSION/NAMESPACE/ID, with the options of the
// runtime beside it, and the runtime's state lies in RUNTIME-ROOT/NAMESPACE/ID.
//
// Its containers can be saved, not ended or made: containerd keeps its own account of them,
// which only its clients can change.
type Containerd struct {
	states []string
}

// NewContainerd returns the engine for a state directory, "" for containerd's own.
func NewContainerd(state string) *Containerd {
	return &Containerd{states: containerdStates(state)}
}

// dockerNamespace is the namespace of docker's containers in containerd.
const dockerNamespace = "moby"

// containerdStates returns the state directories in which tasks are looked for: the
// given one, or those of containerd and of the one that dockerd starts itself.
func containerdStates(state string) []string {
	if state == "" {
		return []string{"/run/containerd", "/run/docker/containerd/daemon"}
	}
	if abs, err := filepath.Abs(state); err == nil {
		state = abs
	}
	return []string{state}
}

// Name implements Engine.
func (c *Containerd) Name() string { return "containerd" }

// Find implements Engine. The ids of Kubernetes are long: their beginning will do.
func (c *Containerd) Find(ctx context.Context, name string) ([]Container, error) {
	if !validID(name) {
		return nil, nil
	}
	return c.find(ctx, func(id string) bool { return id == name || len(id) == 64 && strings.HasPrefix(id, name) })
}

// List implements Engine.
func (c *Containerd) List(ctx context.Context) ([]Container, error) {
	return c.find(ctx, func(string) bool { return true })
}

// find returns the tasks whose id is asked for, but for docker's, which have names there.
func (c *Containerd) find(ctx context.Context, asked func(id string) bool) ([]Container, error) {
	bundles, err := taskBundles(c.states, "*")
	if err != nil {
		return nil, err
	}
	var found []Container
	for _, bundle := range bundles {
		if filepath.Base(filepath.Dir(bundle)) == dockerNamespace || !asked(filepath.Base(bundle)) {
			continue
		}
		under, err := shimState(ctx, bundle)
		if err != nil {
			return found, err
		}
		found = append(found, &task{
			who:    Candidate{Engine: "containerd", ID: filepath.Base(bundle), Root: filepath.Dir(bundle)},
			bundle: bundle, under: under,
		})
	}
	return found, nil
}

// Create implements Engine.
func (c *Containerd) Create(context.Context, Spec) (Fresh, error) { return nil, c.cannot() }

// cannot implements unable.
func (c *Containerd) cannot() error { return notMade("containerd") }

// notMade is the refusal to make a container of an engine that is not told.
func notMade(engine string) error {
	return fmt.Errorf("%w: containers of %s are made by its own clients: restore by the annotation dev.rethaw.restore there, or into a container of runc (--runtime runc --bundle)",
		ErrUnsupported, engine)
}

// taskBundles lists the bundles of the tasks in a namespace ("*" for all).
func taskBundles(states []string, namespace string) ([]string, error) {
	var all []string
	for _, state := range states {
		found, err := filepath.Glob(filepath.Join(state, "io.containerd.runtime.*", namespace, "*", "config.json"))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			all = append(all, filepath.Dir(path))
		}
	}
	return all, nil
}

// shimState returns the runtime's container of a task, nil if it has ended.
func shimState(ctx context.Context, bundle string) (Container, error) {
	namespace, id := filepath.Base(filepath.Dir(bundle)), filepath.Base(bundle)
	options, err := readShimOptions(bundle)
	if err != nil {
		return nil, fmt.Errorf("the task %q in %s: %w", id, filepath.Dir(bundle), err)
	}
	root := options.Root
	if root == "" {
		root = "/run/containerd/runc"
	}
	root = filepath.Join(root, namespace)
	for _, e := range []Engine{NewRunc("runc", root), NewCrun("crun", root)} {
		found, err := e.Find(ctx, id)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			return found[0], nil
		}
	}
	return nil, nil
}

// shimOptions are what the shim was told (containerd's runtime/v2/runc/options).
type shimOptions struct {
	// Root is the runtime's state directory, without the namespace.
	Root string `json:"root"`
}

// readShimOptions reads what lies beside a bundle; an older shim left nothing.
func readShimOptions(bundle string) (shimOptions, error) {
	var o shimOptions
	data, err := os.ReadFile(filepath.Join(bundle, "options.json"))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(data) == 0 {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	return o, err
}
