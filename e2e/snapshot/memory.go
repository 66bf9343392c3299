package snapshot

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// vma is one mapping of smaps (proc(5)).
type vma struct {
	start, end, offset uint64
	perms, file, flags string
	anonymous          bool
}

// memory lists the mappings with their VmFlags. Neighbours that differ in nothing
// are joined: whether the kernel keeps them apart depends on the order in which
// they were touched and means nothing to the program.
func (l *look) memory(dir string) ([]string, error) {
	text, err := l.text(dir, "smaps")
	if err != nil || text == "none" {
		return nil, err
	}
	var all []vma
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "VmFlags:" && len(all) > 0:
			all[len(all)-1].flags = vmFlags(fields[1:])
			all = join(all)
		case !strings.HasSuffix(fields[0], ":"):
			next, err := l.parseVMA(line)
			if err != nil {
				return nil, err
			}
			all = append(all, next)
		}
	}
	lines := make([]string, len(all))
	for i, v := range all {
		lines[i] = fmt.Sprintf("%x-%x %s %x %s [%s]", v.start, v.end, v.perms, v.offset, v.file, v.flags)
	}
	return lines, nil
}

// parseVMA reads the first line of a mapping: addresses, permissions, offset,
// device, inode, and a path which may have blanks.
func (l *look) parseVMA(line string) (vma, error) {
	fields := strings.SplitN(strings.TrimSuffix(line, "\n")+" ", " ", 6)
	if len(fields) < 6 {
		return vma{}, fmt.Errorf("smaps: cannot read %q", line)
	}
	from, to, _ := strings.Cut(fields[0], "-")
	var v vma
	for _, number := range []struct {
		text string
		to   *uint64
	}{{from, &v.start}, {to, &v.end}, {fields[2], &v.offset}} {
		value, err := strconv.ParseUint(number.text, 16, 64)
		if err != nil {
			return v, fmt.Errorf("smaps: %q: %w", line, err)
		}
		*number.to = value
	}
	v.perms, v.file, v.anonymous = fields[1], strings.TrimSpace(fields[5]), fields[4] == "0"
	if v.anonymous {
		return v, nil
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(fields[3], "%x:%x", &major, &minor); err != nil {
		return v, fmt.Errorf("smaps: %q: %w", line, err)
	}
	v.file += " = " + l.same("inode", fmt.Sprintf("%d:%s", unix.Mkdev(major, minor), fields[4]))
	return v, nil
}

// vmFlags leaves out sd, the mark of a page-table feature that every write sets.
func vmFlags(flags []string) string {
	var kept []string
	for _, flag := range flags {
		if flag != "sd" {
			kept = append(kept, flag)
		}
	}
	return strings.Join(kept, " ")
}

// join merges the last two mappings where nothing tells them apart.
func join(all []vma) []vma {
	if len(all) < 2 {
		return all
	}
	a, b := &all[len(all)-2], all[len(all)-1]
	if a.end != b.start || a.perms != b.perms || a.file != b.file || a.flags != b.flags || a.anonymous != b.anonymous {
		return all
	}
	if !a.anonymous && a.offset+(a.end-a.start) != b.offset {
		return all
	}
	a.end = b.end
	return all[:len(all)-1]
}
