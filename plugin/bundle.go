package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rethaw/rethaw/internal/ask"
	"github.com/rethaw/rethaw/specs"
)

// Bundle is an OCI bundle: a directory with config.json and a root filesystem.
type Bundle struct {
	// Dir is absolute, Rootfs resolved against it.
	Dir, Rootfs string
	// Config is config.json, as far as it matters here.
	Config *Config
}

// Config are the parts of an OCI configuration that matter here. Decoding all of it costs
// a millisecond, most of it for the types of what is not looked at.
type Config struct {
	Process *struct {
		Terminal bool `json:"terminal"`
	} `json:"process"`
	Root   *runtimespec.Root   `json:"root"`
	Mounts []runtimespec.Mount `json:"mounts"`
	// Annotations are those of the container.
	Annotations map[string]string `json:"annotations"`
	Linux       *struct {
		Seccomp     json.RawMessage              `json:"seccomp"`
		Namespaces  []runtimespec.LinuxNamespace `json:"namespaces"`
		UIDMappings []runtimespec.LinuxIDMapping `json:"uidMappings"`
		GIDMappings []runtimespec.LinuxIDMapping `json:"gidMappings"`
	} `json:"linux"`
}

// seccomp tells whether the configuration has a seccomp filter.
func (c *Config) seccomp() bool {
	return c.Linux != nil && len(c.Linux.Seccomp) > 0 && string(c.Linux.Seccomp) != "null"
}

// LoadBundle reads a bundle and checks that it is whole. Its errors are ErrBundle.
func LoadBundle(dir string) (*Bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	config, err := readConfig(filepath.Join(dir, "config.json"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, &BundleError{Bundle: dir, Reason: "there is no config.json: name the directory of the bundle with --bundle"}
	case err != nil:
		return nil, &BundleError{Bundle: dir, Reason: "its configuration", Err: err}
	}
	b := &Bundle{Dir: dir, Config: config}
	switch {
	case b.Config.Root == nil || b.Config.Root.Path == "":
		return nil, &BundleError{Bundle: dir, Reason: "config.json has no root.path"}
	case b.Config.Process == nil:
		return nil, &BundleError{Bundle: dir, Reason: "config.json has no process"}
	}
	b.Rootfs = b.Config.Root.Path
	if !filepath.IsAbs(b.Rootfs) {
		b.Rootfs = filepath.Join(dir, b.Rootfs)
	}
	info, err := os.Stat(b.Rootfs)
	if err != nil {
		return nil, &BundleError{Bundle: dir, Reason: "the root filesystem is missing", Err: err}
	}
	if !info.IsDir() {
		return nil, &BundleError{Bundle: dir, Reason: "root.path " + b.Rootfs + " is not a directory"}
	}
	return b, nil
}

// Terminal tells whether the bundle's process gets a terminal.
func (b *Bundle) Terminal() bool { return b.Config.Process != nil && b.Config.Process.Terminal }

// ImageDir is where the image of a container of a bundle lies if nothing else is said.
func ImageDir(bundle string) string { return filepath.Join(bundle, "checkpoint") }

// bundleTerminal tells whether the process of a bundle has a terminal; a bundle that
// is gone or cannot be read counts as without.
func bundleTerminal(dir string) bool {
	config, err := readConfig(filepath.Join(dir, "config.json"))
	return err == nil && config.Process != nil && config.Process.Terminal
}

// readConfig reads an OCI configuration.
func readConfig(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	config := new(Config)
	if err := json.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("%s is not a container configuration: %w", path, err)
	}
	return config, nil
}

// CheckBundle tells whether a container of bundle b can take the image with header h,
// as far as this shows before the container is made. Its errors are ErrBundle.
func CheckBundle(h *specs.Header, b *Bundle) error {
	if h.Host {
		return &BundleError{Bundle: b.Dir, Reason: "the image is of a tree of host tasks (--pid): restore it without a container name"}
	}
	if h.Terminal && !b.Terminal() {
		return &BundleError{Bundle: b.Dir, Reason: "the image's container has a terminal and this one has none: set process.terminal to true in config.json"}
	}
	if err := checkUsers(h, b); err != nil {
		return err
	}
	for _, m := range h.Mounts {
		if !hasMount(b, m) {
			return &BundleError{Bundle: b.Dir, Reason: "the image needs the mount at " + m.Point + " (" + m.FSType +
				" from " + m.Source + "): add it to mounts in config.json"}
		}
	}
	return nil
}

// hasMount tells whether a container of b will have the mount m: because config.json
// lists it, because it lies in one of the trees that runtimes fill themselves (masked
// files in /proc, controllers in /sys, the
// console and device nodes in /dev), because it is the socket that the hook mounts, or because it is a tmpfs,
// which a restore can make.
func hasMount(b *Bundle, m specs.Mount) bool {
	point := filepath.Clean(m.Point)
	if point == "/" || point == ask.Socket || m.FSType == "tmpfs" {
		return true
	}
	for _, tree := range []string{"/proc", "/sys"} {
		if point == tree || strings.HasPrefix(point, tree+"/") {
			return true
		}
	}
	if point == "/dev/console" || m.FSType == "devpts" || m.FSType == "devtmpfs" {
		return true
	}
	for _, have := range b.Config.Mounts {
		if filepath.Clean(have.Destination) == point {
			return true
		}
	}
	return false
}

// bundleLabel returns the bundle's directory from the labels in runc's state
// ("bundle=/dir").
func bundleLabel(labels []string) string {
	for _, label := range labels {
		if dir, ok := strings.CutPrefix(label, "bundle="); ok {
			return dir
		}
	}
	return ""
}
