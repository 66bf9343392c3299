package plugin

import (
	"fmt"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/rethaw/rethaw/internal/userns"
	"github.com/rethaw/rethaw/specs"
)

// checkUsers compares the user namespace that a bundle asks for with that of an image. One that it only joins (a path) shows
// its users when the container is made, and restore.Run compares them.
func checkUsers(h *specs.Header, b *Bundle) error {
	var uids, gids userns.Map
	if linux := b.Config.Linux; linux != nil {
		for _, ns := range linux.Namespaces {
			if ns.Type == runtimespec.UserNamespace && ns.Path != "" {
				return nil
			}
			if ns.Type == runtimespec.UserNamespace {
				uids, gids = idMap(linux.UIDMappings), idMap(linux.GIDMappings)
			}
		}
	}
	for _, m := range []struct {
		what, field   string
		image, bundle userns.Map
	}{{"users", "uidMappings", h.UIDMap, uids}, {"groups", "gidMappings", h.GIDMap, gids}} {
		if !m.image.Equal(m.bundle) {
			return &BundleError{Bundle: b.Dir, Reason: fmt.Sprintf("the %s of the image's container are mapped %s (inside, outside, count) and those of this one %s: "+
				"make linux.%s and the user namespace in config.json the same", m.what, m.image, m.bundle, m.field)}
		}
	}
	return nil
}

func idMap(list []runtimespec.LinuxIDMapping) userns.Map {
	var m userns.Map
	for _, r := range list {
		m = append(m, specs.IDRange{Inside: r.ContainerID, Outside: r.HostID, Count: r.Size})
	}
	return m
}
