package procfs

import (
	"bytes"
	"math"
	"slices"
	"strings"
)

// ParseMaps reads /proc/PID/maps. The text is empty for a task without an address
// space: a zombie or a kernel thread.
func ParseMaps(b []byte) ([]VMA, error) {
	return parseAreas("maps", b)
}

// ParseSmaps reads /proc/PID/smaps. The text is empty for a task without an
// address space: a zombie or a kernel thread. Counters that are not in VMA are
// passed over.
func ParseSmaps(b []byte) ([]VMA, error) {
	return parseAreas("smaps", b)
}

// areaParser remembers what neighbours in a file have in common, so that
// thousands of areas cost few allocations.
type areaParser struct {
	flags    map[string][]string
	lastText []byte // the kernel's text of the last path, and what became of it:
	last     VMA
}

func parseAreas(file string, b []byte) ([]VMA, error) {
	p := areaParser{}
	var areas []VMA
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		if len(line) == 0 {
			return nil, badLine(file, n, line, "empty")
		}
		// Addresses are written with small letters, the names of counters
		// begin with a capital.
		if c := line[0]; '0' <= c && c <= '9' || 'a' <= c && c <= 'f' {
			var v VMA
			if !p.head(&v, line) {
				return nil, badLine(file, n, line, "not an area")
			}
			if len(areas) > 0 && v.Start < areas[len(areas)-1].End {
				return nil, badLine(file, n, line, "overlaps the area before it")
			}
			areas = append(areas, v)
			continue
		}
		if len(areas) == 0 {
			return nil, badLine(file, n, line, "a counter before the first area")
		}
		if !p.counter(&areas[len(areas)-1], line) {
			return nil, badLine(file, n, line, "not understood")
		}
	}
	return areas, nil
}

// head reads "START-END rwxp OFFSET MAJOR:MINOR INODE   PATH".
func (p *areaParser) head(v *VMA, line []byte) bool {
	span, rest := nextField(line)
	perms, rest := nextField(rest)
	offset, rest := nextField(rest)
	dev, rest := nextField(rest)
	inode, rest := nextField(rest)
	var ok [6]bool
	if dash := bytes.IndexByte(span, '-'); dash > 0 {
		v.Start, ok[0] = parseUint(span[:dash], 16)
		v.End, ok[1] = parseUint(span[dash+1:], 16)
	}
	v.Offset, ok[2] = parseUint(offset, 16)
	var major, minor uint64
	if colon := bytes.IndexByte(dev, ':'); colon > 0 {
		major, ok[3] = parseUint(dev[:colon], 16)
		minor, ok[4] = parseUint(dev[colon+1:], 16)
	}
	v.Major, v.Minor = uint32(major), uint32(minor)
	v.Inode, ok[5] = parseUint(inode, 10)
	if ok != [6]bool{true, true, true, true, true, true} || major|minor > math.MaxUint32 || v.Start >= v.End {
		return false
	}
	p.path(v, trimLeft(rest)) // trailing blanks belong to the name
	return v.Perms.parse(perms)
}

func (p *Perms) parse(b []byte) bool {
	if len(b) != 4 {
		return false
	}
	*p = Perms{Read: b[0] == 'r', Write: b[1] == 'w', Exec: b[2] == 'x', Shared: b[3] == 's'}
	for i, c := range b {
		if c != "rwxs"[i] && c != "---p"[i] {
			return false
		}
	}
	return true
}

// path takes the kernel's text apart.
func (p *areaParser) path(v *VMA, text []byte) {
	if len(text) == 0 {
		return
	}
	if bytes.Equal(text, p.lastText) {
		v.Path, v.Deleted, v.Escaped, v.AnonName = p.last.Path, p.last.Deleted, p.last.Escaped, p.last.AnonName
		return
	}
	v.Path = string(text)
	if text[0] == '[' {
		for _, prefix := range [...]string{"[anon:", "[anon_shmem:"} {
			if name, found := strings.CutPrefix(v.Path, prefix); found {
				v.AnonName = strings.TrimSuffix(name, "]")
			}
		}
	} else {
		v.Path, v.Deleted = strings.CutSuffix(v.Path, " (deleted)")
		// The line feed is the only byte that the kernel escapes here.
		if v.Escaped = strings.Contains(v.Path, `\012`); v.Escaped {
			v.Path = strings.ReplaceAll(v.Path, `\012`, "\n")
		}
	}
	p.lastText, p.last = text, *v
}

// counter reads "Rss:    4 kB" and the like. It is a switch and not a table
// because it runs some twenty-four times per area while tasks are stopped.
func (p *areaParser) counter(v *VMA, line []byte) (ok bool) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return false
	}
	key, value := line[:colon], line[colon+1:]
	switch string(key) {
	case "KernelPageSize":
		v.KernelPageSize, ok = parseKB(value)
	case "Rss":
		v.Rss, ok = parseKB(value)
	case "Pss":
		v.Pss, ok = parseKB(value)
	case "Anonymous":
		v.Anonymous, ok = parseKB(value)
	case "AnonHugePages":
		v.AnonHugePages, ok = parseKB(value)
	case "Swap":
		v.Swap, ok = parseKB(value)
	case "Locked":
		v.Locked, ok = parseKB(value)
	case "Shared_Hugetlb":
		v.SharedHugetlb, ok = parseKB(value)
	case "Private_Hugetlb":
		v.PrivateHugetlb, ok = parseKB(value)
	case "ProtectionKey":
		v.ProtectionKey, ok = parsePID(trim(value))
	case "VmFlags":
		v.VmFlags, ok = p.vmFlags(value), true
	default:
		ok = true
	}
	return ok
}

func (p *areaParser) vmFlags(value []byte) []string {
	if flags, known := p.flags[string(value)]; known {
		return flags
	}
	if p.flags == nil {
		p.flags = make(map[string][]string)
	}
	flags := strings.Fields(string(value))
	// Linux 6.1 has no name for VM_LOCKONFAULT, and of locked memory this is the only such flag.
	if i := slices.Index(flags, "??"); i >= 0 && slices.Contains(flags, "lo") {
		flags[i] = "lf"
	}
	p.flags[string(value)] = flags
	return flags
}
