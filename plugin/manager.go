package plugin

import (
	"fmt"
	"path/filepath"
	"strings"
)

// managed is a runtime's container that may belong to a manager above the runtime.
type managed interface {
	// manager is the name of the manager, "" if there is none.
	manager() string
}

// managerOf tells who has a runtime make and end a container, by its bundle and its
// annotations; "" for nobody that is known.
func managerOf(bundle string, annotation func(key string) string) string {
	// podman says libpod here; CRI-O and others say their own names.
	switch by := annotation("io.container.manager"); by {
	case "":
	case "libpod":
		return "podman"
	default:
		return by
	}
	if strings.Contains(bundle, "/io.containerd.runtime.") {
		if filepath.Base(filepath.Dir(bundle)) == dockerNamespace {
			return "docker"
		}
		return "containerd"
	}
	return ""
}

// endable tells whether a checkpoint into the directory image may end a container. A
// runtime's container under a manager is the manager's to end.
func endable(c Container, image string) error {
	if e, ok := c.(ender); ok {
		return e.Endable(image)
	}
	m, ok := c.(managed)
	if !ok {
		return nil
	}
	by := m.manager()
	switch {
	case by == "":
		return nil
	case by == "podman":
		return fmt.Errorf("%w: %s belongs to podman: use --runtime podman, or --leave-running", ErrUnsupported, c.Candidate())
	}
	return notEnded(c.Candidate(), by)
}

// notEnded is the refusal to end a container of a manager that is not told.
func notEnded(c Candidate, by string) error {
	return fmt.Errorf("%w: %s belongs to %s, which would take its end for a failure and may start a new one: use --leave-running, then stop it with the tools of %s",
		ErrUnsupported, c, by, by)
}
