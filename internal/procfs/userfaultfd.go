package procfs

import "bytes"

// Userfaultfd is the state of a userfaultfd(2) (fs/userfaultfd.c,
// userfaultfd_show_fdinfo).
type Userfaultfd struct {
	// Pending is how many faults nobody has read yet, Total how many wait in
	// all.
	Pending, Total uint64
	// API is UFFD_API, Features what the file was opened with, Known what the
	// kernel can do (UFFD_FEATURE_*).
	API, Features, Known uint64
}

func userfaultfdLine(parse func(*Userfaultfd, []byte) bool) fdLine {
	return func(i *FDInfo, v []byte) bool {
		if i.Userfaultfd == nil {
			i.Userfaultfd = new(Userfaultfd)
		}
		return parse(i.Userfaultfd, v)
	}
}

func (u *Userfaultfd) parsePending(v []byte) (ok bool) {
	u.Pending, ok = parseUint(v, 10)
	return ok
}

func (u *Userfaultfd) parseTotal(v []byte) (ok bool) {
	u.Total, ok = parseUint(v, 10)
	return ok
}

// parseAPI reads "aa:0:1ff".
func (u *Userfaultfd) parseAPI(v []byte) bool {
	parts := bytes.Split(v, []byte(":"))
	if len(parts) != 3 {
		return false
	}
	for n, to := range []*uint64{&u.API, &u.Features, &u.Known} {
		var ok bool
		if *to, ok = parseUint(parts[n], 16); !ok {
			return false
		}
	}
	return true
}
