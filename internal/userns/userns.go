// Package userns knows the users of a container with a user namespace of its own (user_namespaces(7)).
//
// A user has one number for each user namespace. What we read and set from outside - in /proc, with chown(2) - has the
// numbers of our own; a task that makes a system call itself has to name those of its namespace. Images hold the
// former, with the maps by which the kernel translates.
package userns

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	"github.com/rethaw/rethaw/specs"
)

// Map is /proc/PID/uid_map or gid_map, as we see it.
type Map []specs.IDRange

// Inside translates one of our numbers into that of the namespace; false tells that it has none. An empty map is that
// of our own namespace.
func (m Map) Inside(id uint32) (uint32, bool) {
	for _, r := range m {
		if id >= r.Outside && id-r.Outside < r.Count {
			return r.Inside + (id - r.Outside), true
		}
	}
	return id, len(m) == 0
}

// Outside is the way back.
func (m Map) Outside(id uint32) (uint32, bool) {
	for _, r := range m {
		if id >= r.Inside && id-r.Inside < r.Count {
			return r.Outside + (id - r.Inside), true
		}
	}
	return id, len(m) == 0
}

// Root is our number for the superuser of the namespace, or without one for its first user: who a file can belong to
// there.
func (m Map) Root() uint32 {
	id, known := m.Outside(0)
	if !known {
		return m[0].Outside
	}
	return id
}

// Equal tells whether two maps translate alike: the order of the ranges does not matter.
func (m Map) Equal(o Map) bool {
	return slices.Equal(slices.SortedFunc(slices.Values(m), byInside), slices.SortedFunc(slices.Values(o), byInside))
}

func byInside(a, b specs.IDRange) int { return cmp.Compare(a.Inside, b.Inside) }

// String has the ranges as the files show them.
func (m Map) String() string {
	if len(m) == 0 {
		return "none"
	}
	list := make([]string, len(m))
	for i, r := range m {
		list[i] = fmt.Sprintf("%d %d %d", r.Inside, r.Outside, r.Count)
	}
	return strings.Join(list, ", ")
}

// Of reads the maps of a task's user namespace; both are nil if that is ours.
func Of(pid int) (users, groups Map, err error) {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", pid))
	if os.IsNotExist(err) && missing() {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if ours, err := os.Readlink("/proc/self/ns/user"); err != nil || ours == theirs {
		return nil, nil, err
	}
	if users, err = read(pid, "uid_map"); err != nil {
		return nil, nil, err
	}
	groups, err = read(pid, "gid_map")
	return users, groups, err
}

// missing tells that the kernel has no user namespaces.
func missing() bool {
	_, err := os.Lstat("/proc/self/ns/user")
	return os.IsNotExist(err)
}

func read(pid int, name string) (Map, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, name)
	list, err := user.ParseIDMapFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: the user namespace has no users yet", path)
	}
	var m Map
	for _, r := range list {
		m = append(m, specs.IDRange{Inside: uint32(r.ID), Outside: uint32(r.ParentID), Count: uint32(r.Count)})
	}
	return m, nil
}
