package layer

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Overlay is a mounted overlay filesystem.
type Overlay struct {
	// Upper is its upper directory, "" if it has none and cannot be changed.
	Upper string
}

// FindOverlay tells by a process's mountinfo (proc(5)) whether its root directory
// is the root of an overlay; nil if it is something else.
func FindOverlay(info io.Reader) (*Overlay, error) {
	mounts, err := mountinfo.GetMountsFromReader(info, nil)
	if err != nil {
		return nil, err
	}
	var root *mountinfo.Info
	for _, m := range mounts {
		if m.Mountpoint == "/" {
			root = m // the last one is on top
		}
	}
	// A part of an overlay is a directory of some other root filesystem.
	if root == nil || root.FSType != "overlay" || root.Root != "/" {
		return nil, nil
	}
	for option := range strings.SplitSeq(root.VFSOptions, ",") {
		upper, ok := strings.CutPrefix(option, "upperdir=")
		if !ok {
			continue
		}
		upper = unescape(upper)
		if !filepath.IsAbs(upper) {
			return nil, fmt.Errorf("the overlay of the root filesystem has the upper directory %q, and it is not known from where it counts", upper)
		}
		if _, err := os.Stat(upper); err != nil {
			return nil, fmt.Errorf("the upper directory of the root filesystem's overlay: %w", err)
		}
		return &Overlay{Upper: upper}, nil
	}
	return &Overlay{}, nil
}

// unescape undoes how the kernel shows unusual characters in /proc: by \ and three
// octal digits (seq_escape).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
