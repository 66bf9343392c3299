package rig

import (
	"fmt"
	"strings"

	"github.com/moby/sys/capability"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/osthread"
)

// RethawWith runs a verb of rethaw as root with no other capabilities than these, whose names are those
// of capabilities(7). What rethaw runs has no more.
func (c *Container) RethawWith(caps []string, verb string, args ...string) Result {
	c.t.Helper()
	return limited(caps, func() Result { return c.TryRethaw(verb, args...) })
}

// RestoreWith is Restore with no other capabilities than these, for the runtime that rethaw calls too. It
// may fail.
func (c *Container) RestoreWith(caps []string, args ...string) Result {
	c.t.Helper()
	args = append([]string{"--detach", "--bundle", c.Bundle, "--image", c.Image}, args...)
	by := func(launch func() Result) Result { return limited(caps, launch) }
	return c.startBy(by, c.rig.Rethaw, c.RethawArgs("restore", args...)...)
}

// limited calls f on a thread whose children as root have no other capabilities than these. They get
// its bounding set, which can only shrink: the thread ends with f.
func limited(caps []string, f func() Result) Result {
	result := make(chan Result, 1)
	go osthread.Run(func() {
		if err := bound(caps); err != nil {
			result <- Result{Code: -1, Err: err}
			return
		}
		result <- f()
	})
	return <-result
}

// bound takes all other capabilities out of the bounding set of the calling thread.
func bound(keep []string) error {
	kept := map[capability.Cap]bool{}
	for _, c := range capability.ListKnown() {
		for _, name := range keep {
			if name == Capability(c) {
				kept[c] = true
			}
		}
	}
	if len(kept) != len(keep) {
		return fmt.Errorf("among %v is none of the kernel's capabilities", keep)
	}
	all, err := capability.ListSupported()
	if err != nil {
		return err
	}
	for _, c := range all {
		if kept[c] {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return fmt.Errorf("drop %s: %w", Capability(c), err)
		}
	}
	return nil
}

// Capability is the name of a capability as capabilities(7) has it.
func Capability(c capability.Cap) string { return "CAP_" + strings.ToUpper(c.String()) }

// Capabilities are the names of all that we have in effect.
func Capabilities() ([]string, error) {
	own, err := capability.NewPid2(0)
	if err != nil {
		return nil, err
	}
	if err := own.Load(); err != nil {
		return nil, err
	}
	var names []string
	for _, c := range capability.ListKnown() {
		if own.Get(capability.EFFECTIVE, c) {
			names = append(names, Capability(c))
		}
	}
	return names, nil
}
