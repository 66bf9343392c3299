package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// remakable tells why podman cannot be asked to make such a container anew: it is tied to
// others, or to what inspect does not tell.
func (c *podmanConfig) remakable() error {
	h := &c.Host
	for _, r := range []struct {
		is  bool
		why string
	}{
		{c.Pod != "" || c.IsInfra, "belongs to a pod"},
		{c.Rootfs != "", "was made from a root filesystem (--rootfs), not from a podman image"},
		{len(c.Dependencies) > 0 || len(h.VolumesFrom) > 0, "depends on other containers"},
		{borrowed(h.NetworkMode, h.IpcMode, h.PidMode, h.UTSMode), "shares a namespace with another container, or with a process"},
		{h.UsernsMode != "" && h.UsernsMode != "host" && len(h.IDMappings.UidMap) == 0, "has a user namespace whose mappings podman does not tell"},
		{len(c.Config.Secrets) > 0, "uses secrets"},
		{len(h.BlkioWeightDevice)+len(h.BlkioDeviceReadBps)+len(h.BlkioDeviceWriteBps)+len(h.BlkioDeviceReadIOps)+len(h.BlkioDeviceWriteIOps) > 0,
			"has limits for single block devices"},
		{slices.ContainsFunc(c.Mounts, func(m podmanMount) bool { return m.Type != "volume" && m.Type != "bind" }), "has mounts of another kind than volumes and binds"},
		{slices.ContainsFunc(c.Mounts, func(m podmanMount) bool { return m.Type == "volume" && m.Driver != "local" }), "has volumes of another driver than local"},
		{slices.ContainsFunc(c.Mounts, func(m podmanMount) bool { return strings.Contains(m.Source+m.Destination, ":") }), "has mounts with a colon in their paths"},
	} {
		if r.is {
			return errors.New(r.why)
		}
	}
	return nil
}

// borrowed tells whether one of the modes of namespaces leads elsewhere.
func borrowed(modes ...string) bool {
	return slices.ContainsFunc(modes, func(m string) bool { return strings.HasPrefix(m, "container:") || strings.HasPrefix(m, "ns:") })
}

// remaking is how a container is made anew.
type remaking struct {
	*podmanConfig
	name string
	// image is what podman finds the image by, caps are those that podman gives to
	// containers here if nothing is said.
	image string
	caps  []string
	// noIP and noMAC leave out the addresses that the container had.
	noIP, noMAC bool
	// volumes are the names here of those whose contents come from the export.
	volumes map[string]string
}

// args are the arguments of podman create. Each value is joined to its option, so that
// nothing in an export can pass for another option.
func (r *remaking) args() []string {
	args := []string{"create", "--name=" + r.name, "--pull=never"}
	for _, part := range []func() []string{r.process, r.namespaces, r.network, r.capabilities, r.mounts, r.resources, r.health, r.labels} {
		args = append(args, part()...)
	}
	path, command := r.Path, r.Args
	if r.annotation("init") {
		args = append(args, "--init")
		// podman's init comes first then, and "--".
		if i := slices.Index(command, "--"); i >= 0 && i+1 < len(command) {
			path, command = command[i+1], command[i+2:]
		}
	}
	entrypoint := ""
	if r.Config.Entrypoint == "" {
		command = append([]string{path}, command...)
	} else if text, err := json.Marshal([]string{path}); err == nil {
		entrypoint = string(text)
	}
	return append(append(args, "--entrypoint="+entrypoint, "--", r.image), command...)
}

// annotation tells whether one of podman's own is set.
func (r *remaking) annotation(name string) bool {
	return strings.EqualFold(r.Config.Annotations["io.podman.annotations."+name], "true")
}

// optional is an option that is left out if its value is the empty one.
func optional[T comparable](list []string, name string, value T) []string {
	var zero T
	if value == zero {
		return list
	}
	return append(list, fmt.Sprintf("--%s=%v", name, value))
}

// each repeats an option.
func each(list []string, name string, values []string) []string {
	for _, v := range values {
		list = append(list, "--"+name+"="+v)
	}
	return list
}

// pairs are options of the form NAME=KEY=VALUE.
func pairs(list []string, name string, values map[string]string) []string {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, "--"+name+"="+key+"="+values[key])
	}
	return list
}

func (r *remaking) process() []string {
	c := &r.Config
	list := optional(nil, "tty", c.Tty)
	list = optional(list, "interactive", c.OpenStdin)
	list = optional(list, "user", c.User)
	list = optional(list, "workdir", c.WorkingDir)
	list = optional(list, "umask", c.Umask)
	list = optional(list, "timeout", c.Timeout)
	list = optional(list, "stop-signal", c.StopSignal)
	list = append(list, "--stop-timeout="+strconv.FormatUint(uint64(c.StopTimeout), 10))
	if c.Passwd != nil && !*c.Passwd {
		list = append(list, "--passwd=false")
	}
	for _, e := range c.Env {
		// What podman sets itself, by what it finds here.
		if name, _, _ := strings.Cut(e, "="); name != "container" && name != "HOSTNAME" {
			list = append(list, "--env="+e)
		}
	}
	list = each(list, "group-add", r.Host.GroupAdd)
	if p := r.Host.RestartPolicy; p.Name != "" {
		if p.Name == "on-failure" && p.MaximumRetryCount > 0 {
			p.Name += ":" + strconv.FormatUint(uint64(p.MaximumRetryCount), 10)
		}
		list = append(list, "--restart="+p.Name)
	}
	return optional(list, "rm", r.Host.AutoRemove)
}

func (r *remaking) labels() []string {
	list := pairs(nil, "label", r.Config.Labels)
	kept := maps.Clone(r.Config.Annotations)
	maps.DeleteFunc(kept, func(key, _ string) bool {
		// podman sets these, and the restore is on its way already.
		return strings.HasPrefix(key, "io.podman.") || strings.HasPrefix(key, "io.container.") || strings.HasPrefix(key, "io.kubernetes.cri-o.") ||
			key == "org.opencontainers.image.stopSignal" || key == restoreAnnotation
	})
	list = pairs(list, "annotation", kept)
	log := r.Host.LogConfig
	list = optional(list, "log-driver", log.Type)
	if log.Size != "" && log.Size != "0B" {
		list = append(list, "--log-opt=max-size="+log.Size)
	}
	if log.Tag != "" {
		list = append(list, "--log-opt=tag="+log.Tag)
	}
	return list
}

func (r *remaking) health() []string {
	h := r.Config.Healthcheck
	if h == nil || len(h.Test) == 0 {
		return nil
	}
	var list []string
	switch h.Test[0] {
	case "NONE":
		return []string{"--no-healthcheck"}
	case "CMD-SHELL":
		list = append(list, "--health-cmd="+strings.Join(h.Test[1:], " "))
	default:
		test := h.Test
		if test[0] == "CMD" {
			test = test[1:]
		}
		command, err := json.Marshal(test)
		if err != nil {
			return nil
		}
		list = append(list, "--health-cmd="+string(command))
	}
	for _, t := range []struct {
		name string
		ns   int64
	}{{"health-interval", h.Interval}, {"health-timeout", h.Timeout}, {"health-start-period", h.StartPeriod}} {
		list = optional(list, t.name, time.Duration(t.ns))
	}
	return optional(list, "health-retries", h.Retries)
}
