package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// capHeader is _LINUX_CAPABILITY_VERSION_3 of capset(2).
const capHeader = 0x20080522

// Room for the calls of creds: two sets of capabilities, then groups.
const (
	credsOff      = 256
	capsSize      = 64
	credGroupsOff = credsOff + 2*capsSize
)

// credsSize is how much room beyond credsOff creds needs.
func credsSize(c *specs.Creds) int { return credGroupsOff - credsOff + 4*len(c.Groups) }

// creds prepares the calls by which a thread takes on its credentials, by itself, so that it
// never gets a right that it could not have taken itself. They begin with
// what needs rights and end with giving them up.
func (r *restorer) creds(th *thread, room inject.Lane) (batch, error) {
	c := &th.rec.Creds
	data, at := room.Data, room.At
	var b batch
	now, err := th.status()
	if err != nil {
		return b, err
	}
	// Bounding set: capabilities can only be dropped from it.
	for bit := range uint64(64) {
		if now.CapBnd&^c.Bounding&(1<<bit) != 0 {
			b.add(fmt.Sprintf("drop capability %d from the bounding set", bit), unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, bit)
		}
	}
	if !sameGroups(now.Groups, c.Groups) {
		for i, g := range c.Groups {
			inner, err := r.users.gid(g)
			if err != nil {
				return b, err
			}
			putWord32(data[credGroupsOff+i*4:], uint32(inner))
		}
		b.add("set groups", unix.SYS_SETGROUPS, uint64(len(c.Groups)), at+credGroupsOff)
	}
	// SECBIT_KEEP_CAPS lets capabilities outlive the change of the user id.
	const keepCaps = 1 << 4
	if now.Uid != [4]uint32{c.UID, c.EUID, c.SUID, c.FSUID} || now.Gid != [4]uint32{c.GID, c.EGID, c.SGID, c.FSGID} {
		var u, g [4]uint64
		for i := range u {
			if u[i], err = r.users.uid([4]uint32{c.UID, c.EUID, c.SUID, c.FSUID}[i]); err != nil {
				return b, err
			}
			if g[i], err = r.users.gid([4]uint32{c.GID, c.EGID, c.SGID, c.FSGID}[i]); err != nil {
				return b, err
			}
		}
		b.add("keep capabilities", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1)
		b.add("set group ids", unix.SYS_SETRESGID, g[0], g[1], g[2])
		b.add("set filesystem group id", unix.SYS_SETFSGID, g[3])
		b.add("set user ids", unix.SYS_SETRESUID, u[0], u[1], u[2])
		b.add("set filesystem user id", unix.SYS_SETFSUID, u[3])
	}
	capset := func(off int, effective, permitted, inheritable uint64) {
		putWord32(data[off:], capHeader)
		putWord32(data[off+4:], 0)
		for i := range 2 {
			shift := 32 * i
			putWord32(data[off+8+i*12:], uint32(effective>>shift))
			putWord32(data[off+12+i*12:], uint32(permitted>>shift))
			putWord32(data[off+16+i*12:], uint32(inheritable>>shift))
		}
		b.add("set capabilities", unix.SYS_CAPSET, at+uint64(off), at+uint64(off)+8)
	}
	// All that it may have come into effect first: securebits and inheritable
	// capabilities want CAP_SETPCAP, which the thread may have given up later. Ambient
	// ones are raised before a securebit forbids it.
	capset(credsOff, now.CapPrm, now.CapPrm, c.Inheritable)
	for bit := range uint64(64) {
		if c.Ambient&(1<<bit) != 0 {
			b.add(fmt.Sprintf("raise ambient capability %d", bit), unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, bit, 0, 0)
		} else if now.CapAmb&(1<<bit) != 0 {
			b.add(fmt.Sprintf("lower ambient capability %d", bit), unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, bit, 0, 0)
		}
	}
	if c.SecureBits&^keepCaps != 0 {
		b.add("set securebits", unix.SYS_PRCTL, unix.PR_SET_SECUREBITS, uint64(c.SecureBits))
	} else {
		b.add("set keepcaps", unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, uint64(c.SecureBits>>4&1))
	}
	capset(credsOff+capsSize, c.Effective, c.Permitted, c.Inheritable)
	if c.NoNewPrivs {
		b.add("set no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	} else if now.NoNewPrivs {
		return b, fmt.Errorf("%w: the fresh container sets no_new_privs, which the image's did not have; use the same configuration", ErrUnfit)
	}
	if th.rec.PDeathSig != 0 {
		// A change of credentials clears it.
		b.add("set parent death signal", unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uint64(th.rec.PDeathSig))
	}
	return b, nil
}

func sameGroups(a, b []uint32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
