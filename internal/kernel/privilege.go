package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// MissingCapabilities returns the names of those of the given capabilities (the
// CAP_* numbers of x/sys/unix) that this process does not have in effect.
func MissingCapabilities(want map[int]string) ([]string, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil, fmt.Errorf("capget: %w", err)
	}
	var names []string
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		name, wanted := want[c]
		if wanted && data[c/32].Effective&(1<<(c%32)) == 0 {
			names = append(names, name)
		}
	}
	return names, nil
}
