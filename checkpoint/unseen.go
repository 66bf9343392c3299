package checkpoint

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/internal/kmem"
)

// What a task can have and /proc does not show: it is looked for in the kernel's
// memory (package kmem), so that it is refused while the tasks run and not lost.
// On a kernel whose memory cannot be read it is not seen.

// unseen is what the search needs to know, found out once.
type unseen struct {
	ready bool
	// landlock is the place of the domain in the security blob, domain our own.
	landlock  uint64
	landlocks bool
	domain    uint64
	// dnotify is the group of the marks of F_NOTIFY, 0 for none, once grouped is set.
	dnotify uint64
	grouped bool
	// rings are session keyrings that came from outside.
	rings map[uint64]bool
}

// secret is one thing that is shown nowhere.
type secret struct {
	object, reason, remedy string
	// has looks at a thread of a process whose first is leader.
	has func(d *dump, k *kmem.Reader, leader, thread uint64) (bool, error)
	// everyThread tells that threads may differ in it.
	everyThread bool
	// needs are members that a kernel without such a thing has not.
	needs []string
}

// mmfHasMDWE is the bit of PR_SET_MDWE among the flags of an mm_struct (since Linux 6.3,
// include/linux/mm_types.h).
const mmfHasMDWE = 28

// secrets is the table of them.
func secrets() []secret {
	return []secret{
		{object: "memory protection", reason: "denies memory that is writable and executable (PR_SET_MDWE), in which Rethaw works inside a task",
			remedy: "start the program without it", has: hasMDWE, needs: []string{"mm_struct.flags"}},
		{object: "local descriptor table", reason: "has entries (modify_ldt(2))", remedy: "clear them before the checkpoint",
			has: points("task_struct.mm", "mm_struct.context.ldt"), needs: []string{"mm_struct.context.ldt"}},
		{object: "I/O ports", reason: "may be used (ioperm(2))", remedy: "give them up before the checkpoint",
			has: points("task_struct.thread.io_bitmap"), everyThread: true, needs: []string{"task_struct.thread.io_bitmap"}},
		{object: "protection keys", reason: "are allocated (pkey_alloc(2))", remedy: "free them before the checkpoint",
			has: allocatesKeys, needs: []string{"mm_struct.context.pkey_allocation_map"}},
		{object: "system calls", reason: "are dispatched to the program (PR_SET_SYSCALL_USER_DISPATCH)", remedy: "switch it off before the checkpoint",
			has: dispatches, everyThread: true, needs: []string{"task_struct.syscall_dispatch"}},
		{object: "landlock domain", reason: "restricts the task (landlock_restrict_self(2))", remedy: "start the program without it",
			has: landlocked, everyThread: true, needs: []string{"cred.security"}},
		{object: "thread keyring", reason: "holds keys (keyrings(7))", remedy: "clear it before the checkpoint",
			has: holdsKeys("cred.thread_keyring"), everyThread: true, needs: []string{"cred.thread_keyring"}},
		{object: "process keyring", reason: "holds keys (keyrings(7))", remedy: "clear it before the checkpoint",
			has: holdsKeys("cred.process_keyring"), needs: []string{"cred.process_keyring"}},
		{object: "session keyring", reason: "holds keys (keyrings(7))", remedy: "clear it before the checkpoint",
			has: holdsKeys("cred.session_keyring"), needs: []string{"cred.session_keyring"}},
		{object: "thread", reason: "is in a namespace that the first thread is not in", remedy: "let the thread end first",
			has: strays, everyThread: true, needs: []string{"task_struct.nsproxy"}},
	}
}

// checkUnseen looks for what /proc does not show of a process.
func (d *dump) checkUnseen(p *process) ([]error, error) {
	k, err := d.kernelMemory()
	if err != nil {
		return nil, nil // this kernel does not let us see it
	}
	if err := d.unseen.prepare(d, k); err != nil {
		return nil, err
	}
	leader, err := k.Task(int(p.pidfd.Fd()))
	if err != nil {
		return nil, err
	}
	threads, err := k.Threads(leader)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, s := range secrets() {
		if !known(k, s.needs) {
			continue
		}
		for _, th := range threads {
			if th != leader && !s.everyThread {
				continue
			}
			has, err := s.has(d, k, leader, th)
			if err != nil {
				return problems, fmt.Errorf("look for %s: %w", s.object, err)
			}
			if has {
				problems = append(problems, p.unsupported(s.object, s.reason, s.remedy))
				break
			}
		}
	}
	return problems, nil
}

// refuseUnseen looks again when everything stands still: what a task took on between
// the preflight and the stop.
func (d *dump) refuseUnseen() error {
	for _, p := range d.live() {
		if problems := d.checkTraits(p); len(problems) > 0 {
			return problems[0]
		}
		problems, err := d.checkUnseen(p)
		if len(problems) > 0 {
			return problems[0]
		}
		if err != nil {
			return &Error{"look at what /proc does not show", p.nspid, err}
		}
	}
	return nil
}

func (h *unseen) prepare(d *dump, k *kmem.Reader) error {
	if h.ready {
		return nil
	}
	h.ready, h.rings = true, map[uint64]bool{}
	place, err := k.LandlockPlace()
	if err == nil {
		h.landlock, h.landlocks = place, true
		if h.domain, err = domainOf(k, k.Own(), place); err != nil {
			return err
		}
	} else if !errors.Is(err, kmem.ErrNoLandlock) {
		d.log.WithError(err).Debug("landlock domains are not seen")
	}
	// Keyrings that the first task has of its engine, or of ours, are no state of
	// the program.
	outer := []uint64{k.Own()}
	for _, p := range d.procs {
		if p.pid != d.target.Init || p.pidfd == nil {
			continue
		}
		if init, err := k.Task(int(p.pidfd.Fd())); err == nil {
			if parent, err := k.Follow(init, "task_struct.real_parent"); err == nil {
				outer = append(outer, parent)
			}
		}
	}
	for _, task := range outer {
		if ring, err := k.Follow(task, "task_struct.cred", "cred.session_keyring"); err == nil {
			h.rings[ring] = true
		}
	}
	return nil
}

// known tells whether the kernel has all these members.
func known(k *kmem.Reader, members []string) bool {
	for _, m := range members {
		if _, err := k.Offset(m); err != nil {
			return false
		}
	}
	return true
}

// points tells whether the last of the steps from a thread leads anywhere.
func points(steps ...string) func(*dump, *kmem.Reader, uint64, uint64) (bool, error) {
	return func(_ *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
		to, err := k.Follow(thread, steps...)
		return to != 0, err
	}
}

func hasMDWE(_ *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
	flags, err := k.Follow(thread, "task_struct.mm", "mm_struct.flags")
	return flags&(1<<mmfHasMDWE) != 0, err
}

// allocatesKeys looks at the map of 16 bits, of which key 0 is everybody's.
func allocatesKeys(_ *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
	at, err := k.Follow(thread, "task_struct.mm", "mm_struct.context.pkey_allocation_map&")
	if err != nil {
		return false, err
	}
	keys, err := k.Half(at)
	return keys&0xfffe != 0, err
}

// dispatches looks at selector, offset and length, which are all 0 while it is
// switched off (include/linux/syscall_user_dispatch_types.h).
func dispatches(_ *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
	at, err := k.Follow(thread, "task_struct.syscall_dispatch&")
	for i := uint64(0); err == nil && i < 3; i++ {
		var word uint64
		if word, err = k.Word(at + 8*i); word != 0 {
			return true, err
		}
	}
	return false, err
}

func domainOf(k *kmem.Reader, thread, place uint64) (uint64, error) {
	blob, err := k.Follow(thread, "task_struct.cred", "cred.security")
	if err != nil {
		return 0, err
	}
	return k.Word(blob + place)
}

func landlocked(d *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
	if !d.unseen.landlocks {
		return false, nil
	}
	domain, err := domainOf(k, thread, d.unseen.landlock)
	return domain != 0 && domain != d.unseen.domain, err
}

// holdsKeys tells whether a keyring of the credentials has anything in it.
func holdsKeys(member string) func(*dump, *kmem.Reader, uint64, uint64) (bool, error) {
	return func(d *dump, k *kmem.Reader, _, thread uint64) (bool, error) {
		ring, err := k.Follow(thread, "task_struct.cred", member)
		if err != nil || ring == 0 || d.unseen.rings[ring] {
			return false, err
		}
		n, err := k.Follow(ring, "key.keys.nr_leaves_on_tree")
		return n != 0, err
	}
}

func strays(_ *dump, k *kmem.Reader, leader, thread uint64) (bool, error) {
	if leader == thread {
		return false, nil
	}
	first, err := k.Follow(leader, "task_struct.nsproxy")
	if err != nil {
		return false, err
	}
	own, err := k.Follow(thread, "task_struct.nsproxy")
	return own != first && own != 0, err
}

// dnotified tells whether a directory is watched by fcntl(F_NOTIFY).
func (d *dump) dnotified(f *openFile) bool {
	k, err := d.kernelMemory()
	if err != nil {
		return false
	}
	own, err := f.dup()
	if err != nil {
		return false
	}
	// To find the group out costs more than all the rest, and most directories are watched by nobody.
	if watched, err := k.Watched(int(own.Fd())); err != nil || !watched {
		return false
	}
	if h := &d.unseen; !h.grouped {
		h.grouped = true
		if h.dnotify, err = k.DnotifyGroup(); err != nil {
			d.log.WithError(err).Debug("directories watched by F_NOTIFY are not seen")
		}
	}
	if d.unseen.dnotify == 0 {
		return false
	}
	watched, err := k.Dnotifies(int(own.Fd()), d.unseen.dnotify)
	return watched && err == nil
}
