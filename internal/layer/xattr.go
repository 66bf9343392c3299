package layer

import (
	"fmt"
	"strings"
)

// xattrRule says what becomes of extended attributes whose names begin with prefix.
type xattrRule struct {
	prefix string
	rule   rule
}

// rule is one way to treat an extended attribute.
type rule int

const (
	// carried ones are part of the file.
	carried rule = iota
	// local ones belong to the machine: how it labels files, how overlayfs keeps its
	// books. They are left out, and refused in an import.
	local
)

// xattrRules is the table; the first that fits counts. What fits none is refused.
func xattrRules() []xattrRule {
	return []xattrRule{
		{"trusted.overlay.", local},
		{"user.overlay.", local},
		{"user.", carried},
		{"trusted.", carried},
		{"security.capability", carried},
		{"system.posix_acl_access", carried},
		{"system.posix_acl_default", carried},
		{"security.selinux", local},
		{"security.SMACK64", local},
		{"security.apparmor", local},
		{"security.ima", local},
		{"security.evm", local},
	}
}

// ruleOf finds the rule for an attribute.
func ruleOf(attr string) (rule, error) {
	for _, r := range xattrRules() {
		if strings.HasPrefix(attr, r.prefix) {
			return r.rule, nil
		}
	}
	return 0, fmt.Errorf("the extended attribute %.60q %w", attr, ErrUnsupported)
}

// keepXattr is the rule for a pax.Saver.
func keepXattr(attr string) (bool, error) {
	r, err := ruleOf(attr)
	return r == carried, err
}
