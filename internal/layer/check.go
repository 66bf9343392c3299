package layer

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/pax"
)

// Bounds of what an import may ask for.
const (
	maxEntries = 4 << 20
	maxName    = 255 // NAME_MAX
	maxPath    = 4095
	maxValue   = 64 << 10 // XATTR_SIZE_MAX
)

// checker sees that the entries of an archive are those that this package writes.
type checker struct {
	// types are those of the names that have come.
	types map[string]byte
}

// check refuses an entry, called name from the top of the filesystem, with a pax.ErrFormat.
func (c *checker) check(name string, h *pax.Header) error {
	if c.types == nil {
		c.types = map[string]byte{}
	}
	if err := checkName(name); err != nil {
		return err
	}
	for _, rule := range []func(string, *pax.Header) error{c.checkPlace, c.checkKind, c.checkAttributes} {
		if err := rule(name, h); err != nil {
			return err
		}
	}
	c.types[name] = h.Type
	return nil
}

func refuse(name, why string, args ...any) error {
	return fmt.Errorf("%w: %.200q %s", pax.ErrFormat, name, fmt.Sprintf(why, args...))
}

// checkName refuses what is no path below a directory.
func checkName(name string) error {
	switch {
	case len(name) > maxPath:
		return refuse(name, "is too long a name")
	case strings.HasPrefix(name, StagePrefix):
		return refuse(name, "is a name for imports themselves")
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxName || part == ".." || part == "" || part == "." && name != "." {
			return refuse(name, "is no name")
		}
	}
	return nil
}

// checkPlace sees that each name comes once, and after the directory that it is in: a link can be
// no directory.
func (c *checker) checkPlace(name string, h *pax.Header) error {
	if _, twice := c.types[name]; twice {
		return refuse(name, "comes twice")
	}
	if len(c.types) >= maxEntries {
		return refuse(name, "is one of more than %d entries", maxEntries)
	}
	if name == "." {
		if h.Type != pax.Directory {
			return refuse(name, "should be a directory")
		}
		return nil
	}
	if parent := path.Dir(name); c.types[parent] != pax.Directory {
		return refuse(name, "is not in a directory that came before")
	}
	return nil
}

func (c *checker) checkKind(name string, h *pax.Header) error {
	switch h.Type {
	case pax.Char, pax.Block:
		return refuse(name, "is a device node")
	case pax.HardLink:
		to, ok := c.types[h.Link]
		if !ok || to == pax.Directory || to == pax.Whiteout {
			return refuse(name, "is a hard link to %.200q, which is no file that came before", h.Link)
		}
	case pax.Symlink:
		if h.Link == "" || len(h.Link) > maxPath {
			return refuse(name, "is a symbolic link of %d bytes", len(h.Link))
		}
	case pax.Whiteout:
		if h.Size != 0 {
			return refuse(name, "is a whiteout with data")
		}
	}
	switch {
	case h.Mountpoint:
		return refuse(name, "is a mount point")
	case h.Opaque && h.Type != pax.Directory:
		return refuse(name, "is opaque and no directory")
	case h.Flags&^unix.STATX_ATTR_NODUMP != 0:
		return refuse(name, "has the flags %#x", h.Flags)
	}
	return nil
}

func (c *checker) checkAttributes(name string, h *pax.Header) error {
	if h.Mode&^0o7777 != 0 || h.Size < 0 {
		return refuse(name, "has the mode %o and the size %d", h.Mode, h.Size)
	}
	// The kernel takes -1 for "leave it as it is".
	if h.UID == ^uint32(0) || h.GID == ^uint32(0) {
		return refuse(name, "has no owner")
	}
	for _, x := range h.Xattrs {
		if r, err := ruleOf(x.Name); err != nil || r != carried || len(x.Name) > maxName || len(x.Value) > maxValue ||
			strings.ContainsRune(x.Name, 0) {
			return refuse(name, "has the extended attribute %.60q, which no export has", x.Name)
		}
	}
	return nil
}
