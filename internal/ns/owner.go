package ns

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/kernel"
	"github.com/rethaw/rethaw/internal/userns"
	"golang.org/x/sys/unix"
)

// owner are user and group of the files that a thread makes. A tmpfs of another user namespace refuses files of users that
// this has no numbers for (EOVERFLOW), and so those of our own superuser.
type owner struct {
	user, group int
	other       bool
}

// secbitNoSetuidFixup is SECBIT_NO_SETUID_FIXUP (capabilities(7)): the capabilities in effect stay what they are when
// the user changes.
const secbitNoSetuidFixup = 1 << 2

// ownerFor finds out who that is among a task's users.
func ownerFor(pid int) (owner, error) {
	users, groups, err := userns.Of(pid)
	if err != nil || users == nil {
		return owner{}, err
	}
	return owner{int(users.Root()), int(groups.Root()), true}, nil
}

// adopt prepares the calling thread to make files for the owner.
func (o owner) adopt() error {
	if !o.other {
		return nil
	}
	const what = "files of a container with a user namespace can be made"
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits)|secbitNoSetuidFixup, 0, 0, 0)
	}
	if err != nil {
		return kernel.NeedFor(fmt.Errorf("prctl(PR_SET_SECUREBITS): %w", err), what, unix.CAP_SETPCAP)
	}
	return kernel.NeedFor(o.take(), what, unix.CAP_SETUID, unix.CAP_SETGID)
}

// take has the calling thread make files for the owner: a change of its other ids changes these too.
func (o owner) take() error {
	if !o.other {
		return nil
	}
	for _, set := range []struct {
		call string
		make func(int) (int, error)
		id   int
	}{{"setfsgid", unix.SetfsgidRetGid, o.group}, {"setfsuid", unix.SetfsuidRetUid, o.user}} {
		if _, err := set.make(set.id); err != nil {
			return fmt.Errorf("%s: %w", set.call, err)
		}
		if now, err := set.make(-1); err != nil || now != set.id {
			return fmt.Errorf("%s(%d): %w", set.call, set.id, unix.EPERM)
		}
	}
	return nil
}
