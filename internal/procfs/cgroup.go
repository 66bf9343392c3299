package procfs

import (
	"bytes"
	"strings"
)

// Cgroup is one line of /proc/PID/cgroup (cgroups(7)).
type Cgroup struct {
	// Hierarchy is its number, 0 for version 2.
	Hierarchy int
	// Controllers are those of a version 1 hierarchy; a named one without a
	// controller has "name=NAME".
	Controllers []string
	// Path is below the root of the hierarchy as the reader's cgroup namespace
	// sees it ("/../x" for one outside of it). Deleted tells that the kernel's
	// text ended in " (deleted)": the group is removed and the task a zombie.
	Path    string
	Deleted bool
}

// ParseCgroup reads /proc/PID/cgroup. A name of a cgroup cannot have a line feed.
func ParseCgroup(b []byte) ([]Cgroup, error) {
	var groups []Cgroup
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		parts := bytes.SplitN(line, []byte(":"), 3)
		if len(parts) != 3 || !bytes.HasPrefix(parts[2], []byte("/")) {
			return nil, badLine("cgroup", n, line, "not of the form number:controllers:/path")
		}
		var g Cgroup
		var ok bool
		if g.Hierarchy, ok = parsePID(parts[0]); !ok || g.Hierarchy < 0 {
			return nil, badLine("cgroup", n, line, "not the number of a hierarchy")
		}
		if len(parts[1]) > 0 {
			g.Controllers = strings.Split(string(parts[1]), ",")
		}
		g.Path, g.Deleted = strings.CutSuffix(string(parts[2]), " (deleted)")
		groups = append(groups, g)
	}
	return groups, nil
}
