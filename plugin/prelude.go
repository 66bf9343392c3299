package plugin

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/pax"
)

// The prelude of an export is what stands before the image in the same archive: where the
// container comes from, its configuration, and the changes of its filesystems. Its
// entries in their order; the last one has a digest of all before it.
const (
	preludeOrigin  = "container.json"
	preludeConfig  = "config.json"
	preludeRootfs  = "rootfs"
	preludeVolumes = "volumes/"
	preludeEnd     = "prelude.json"
)

// preludeVersion is raised when older readers would misunderstand it.
const preludeVersion = 1

// maxDocument bounds each of the documents in bytes.
const maxDocument = 16 << 20

// Origin is container.json: where an export comes from.
type Origin struct {
	Version int `json:"version"`
	// Engine, ID and Name are those of the container.
	Engine string `json:"engine"`
	ID     string `json:"id"`
	Name   string `json:"name"`
	// Rootfs tells how the changes of the root filesystem were found: RootfsOverlay,
	// RootfsDiff, or RootfsNone if they are not in the export.
	Rootfs string `json:"rootfs"`
	// Volumes are the names of those whose contents are in the export.
	Volumes []string `json:"volumes,omitempty"`
	// Podman is what podman tells of the container, if it is one of podman's.
	Podman *podmanConfig `json:"podman,omitempty"`
}

// Values of Origin.Rootfs.
const (
	RootfsOverlay = "overlay"
	RootfsDiff    = "diff"
	RootfsNone    = "none"
)

// called is the name under which an import makes the container if none is given.
func (o *Origin) called() string {
	if o.Name != "" {
		return o.Name
	}
	return o.ID
}

// preludeSum is the end of a prelude.
type preludeSum struct {
	// Entries is how many came before, XXH3 the digest (128 bits) of their bytes.
	Entries int64  `json:"entries"`
	XXH3    string `json:"xxh3"`
}

// corrupt makes an image.ErrCorrupt, or the error that it is already.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", image.ErrCorrupt, fmt.Errorf(format, args...))
}

// volumeOf is the prefix of the entries of a volume, and its name, for the name of an entry.
func volumeOf(entry string) (prefix, name string, ok bool) {
	rest, ok := strings.CutPrefix(entry, preludeVolumes)
	if !ok {
		return "", "", false
	}
	name, _, _ = strings.Cut(rest, "/")
	return preludeVolumes + name, name, validVolume(name)
}

// validVolume tells whether podman would take a name for a volume's.
func validVolume(name string) bool {
	for i, c := range name {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("_.-", c)) {
			return false
		}
	}
	return name != "" && len(name) <= 255
}

// document is a small file of a prelude.
func document(name string, size int) *pax.Header {
	return &pax.Header{Name: name, Type: pax.Regular, Mode: 0o600, Size: int64(size)}
}

// encode writes a document for people too.
func encode(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
