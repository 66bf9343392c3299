package image

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rethaw/rethaw/specs"
)

// pagesName is the name of the pages file n.
func pagesName(n uint32) string {
	return specs.PagesPrefix + strconv.FormatUint(uint64(n), 10) + specs.PagesSuffix
}

// pagesNumber tells whether name is that of a pages file, and its number. The
// canonical spelling alone counts: no sign, no leading zeros, not 0.
func pagesNumber(name string) (uint32, bool) {
	digits, ok := strings.CutPrefix(name, specs.PagesPrefix)
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, specs.PagesSuffix)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || pagesName(uint32(n)) != name {
		return 0, false
	}
	return uint32(n), true
}

// checkName says whether name may be that of a file in an image: 1 to MaxName of
// the characters a-z, 0-9, ".", "-" and "_", a letter first. It leaves no room
// for paths, for hidden files or for two names that some filesystem holds for one.
func checkName(name string) error {
	if len(name) == 0 || len(name) > specs.MaxName {
		return fmt.Errorf("name %.100q has %d bytes, not 1 to %d", name, len(name), specs.MaxName)
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z'
		other := c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
		if !letter && (i == 0 || !other) {
			return fmt.Errorf("name %q is not made of a-z, 0-9, %q, %q and %q, a letter first", name, ".", "-", "_")
		}
	}
	return nil
}

// checkMember is checkName for a file beside image.rt: either a pages file in its
// one spelling or a name that looks like neither.
func checkMember(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if name == specs.ImageFile {
		return fmt.Errorf("name %q is taken by the records", name)
	}
	if name == specs.SealedFile {
		return fmt.Errorf("name %q is kept for an encrypted image", name)
	}
	if strings.HasSuffix(name, specs.PartialSuffix) {
		return fmt.Errorf("name %q would mark an unfinished image", name)
	}
	if _, ok := pagesNumber(name); !ok && strings.HasPrefix(name, specs.PagesPrefix) {
		return fmt.Errorf("name %q is kept for page data", name)
	}
	return nil
}
