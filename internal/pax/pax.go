// Package pax writes and reads archives of files: tar with extended headers as of
// POSIX.1-2001 (pax(1)). Any tar program reads them.
//
// Each entry is an extended header, with the records that the fixed one has no
// room for, then the fixed header, then the data, all in blocks of 512 bytes.
// Times are kept to the nanosecond, extended attributes under the keys of star and GNU tar
// (SCHILY.xattr.NAME), files with holes in the format 1.0 of GNU tar: a map of what
// holds data comes before the data. What tar knows no name for stands in
// records of our own: RETHAW.type is "socket" for an empty file that is one and
// "whiteout" for one that says that there is no file of the name any more, RETHAW.opaque
// marks a directory that has nothing but what the archive has in it,
// RETHAW.mountpoint marks a name that something else is mounted on, RETHAW.full a
// file all of whose pages are allocated, RETHAW.flags has the flags of chattr(1).
//
// The package archive/tar of the standard library does not write holes, and hides
// where the data of a file is when it reads them.
package pax

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Types of entries: those of tar, Socket and Whiteout.
const (
	Regular   = '0'
	HardLink  = '1'
	Symlink   = '2'
	Char      = '3'
	Block     = '4'
	Directory = '5'
	FIFO      = '6'
	Socket    = 's'
	Whiteout  = 'w'

	extended = 'x'
)

const blockSize = 512

// maxRecords bounds in bytes the extended header of one entry. The attributes of
// an inode have at most 64 KiB each on Linux.
const maxRecords = 16 << 20

// maxRanges bounds the parts of a file with holes; one with more is saved as if it had
// none.
const maxRanges = 1 << 22

// ErrFormat means that an archive is damaged, or none; ErrTruncated, which is an
// ErrFormat, that its end is missing.
var (
	ErrFormat    = errors.New("not an archive that can be read")
	ErrTruncated = fmt.Errorf("%w: it ends too soon", ErrFormat)
)

// Header describes one file.
type Header struct {
	// Name is relative and has no "." or ".." in it, but for the top, which is ".".
	Name string
	Type byte
	// Mode are the permissions with set-id and sticky bits.
	Mode     uint32
	UID, GID uint32
	// Size is the file's, in bytes.
	Size int64
	// Mtime and Atime are in nanoseconds since 1970.
	Mtime, Atime int64
	// Major and Minor are a device's numbers, Link is where a link leads to.
	Major, Minor uint32
	Link         string
	Xattrs       []Xattr
	// Data are the ranges of the file that hold data, in order; with Sparse
	// false the whole file does.
	Data   []Range
	Sparse bool
	// Mountpoint, Full, Opaque and Flags are told of in the package's comment.
	Mountpoint, Full, Opaque bool
	Flags                    uint32
}

// Xattr is one extended attribute (xattr(7)).
type Xattr struct{ Name, Value string }

// Range is a part of a file in bytes.
type Range struct{ Start, Size int64 }

// Keys of records.
const (
	keyPath, keyLink, keySize  = "path", "linkpath", "size"
	keyUID, keyGID             = "uid", "gid"
	keyMtime, keyAtime         = "mtime", "atime"
	keyCharset                 = "hdrcharset"
	keyXattr                   = "SCHILY.xattr."
	keyMajor, keyMinor         = "GNU.sparse.major", "GNU.sparse.minor"
	keySparseName, keyRealSize = "GNU.sparse.name", "GNU.sparse.realsize"
	keyType, keyMountpoint     = "RETHAW.type", "RETHAW.mountpoint"
	keyFull, keyFlags          = "RETHAW.full", "RETHAW.flags"
	keyOpaque                  = "RETHAW.opaque"
)

// ownTypes are the values of RETHAW.type.
var ownTypes = map[byte]string{Socket: "socket", Whiteout: "whiteout"}

// escape keeps the "=" in names of attributes apart from the one that ends a key,
// as GNU tar does.
var (
	escape   = strings.NewReplacer("%", "%25", "=", "%3D")
	unescape = strings.NewReplacer("%25", "%", "%3D", "=")
)

// record is "LENGTH KEY=VALUE\n", where LENGTH counts itself.
func record(key, value string) string {
	rest := len(key) + len(value) + 3
	n := rest + len(strconv.Itoa(rest))
	n = rest + len(strconv.Itoa(n))
	return strconv.Itoa(n) + " " + key + "=" + value + "\n"
}

// cutRecord takes the first record off b.
func cutRecord(b []byte) (key, value string, rest []byte, err error) {
	length, after, found := strings.Cut(string(b[:min(len(b), 20)]), " ")
	n, nerr := strconv.Atoi(length)
	if !found || nerr != nil || n < len(length)+4 || n > len(b) || b[n-1] != '\n' {
		return "", "", nil, fmt.Errorf("%w: bad record %q", ErrFormat, after)
	}
	key, value, found = strings.Cut(string(b[len(length)+1:n-1]), "=")
	if !found {
		return "", "", nil, fmt.Errorf("%w: record without a value", ErrFormat)
	}
	return key, value, b[n:], nil
}

// formatTime writes nanoseconds as seconds with a fraction.
func formatTime(ns int64) string {
	sign, abs := "", uint64(ns)
	if ns < 0 {
		sign, abs = "-", -abs
	}
	s := fmt.Sprintf("%s%d.%09d", sign, abs/1e9, abs%1e9)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// parseTime reads what formatTime writes.
func parseTime(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	if len(fraction) > 9 {
		fraction = fraction[:9]
	}
	ns, err := strconv.ParseUint(whole+fraction+strings.Repeat("0", 9-len(fraction)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%w: bad time %q", ErrFormat, s)
	}
	if negative {
		return -int64(ns), nil
	}
	return int64(ns), nil
}
