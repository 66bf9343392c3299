package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// planSessions finds for every task a way into its session. A session is
// inherited at the fork or started; so a task that init has adopted and
// whose session is not init's was forked by somebody inside that session who is
// dead. A helper (a ghost) with the number of the session's leader is made for it,
// which ends when all are made: its children are adopted as the originals were.
func (r *restorer) planSessions(byPID map[int32]*task) error {
	ghosts := map[int32]*task{}
	for _, t := range append([]*task(nil), r.tasks...) {
		if t == r.root || t.rec.SID == t.rec.PID || t.rec.SID == 0 {
			continue
		}
		if r.inherits(t) {
			continue
		}
		leader := byPID[t.rec.SID]
		if leader == nil {
			leader = ghosts[t.rec.SID]
		}
		if leader == nil {
			leader = r.newGhost(t.rec.SID, t.rec.SID)
			leader.parent = t.parent
			ghosts[t.rec.SID] = leader
		}
		if t.parent != r.root && !r.adopts(t.parent) {
			return fmt.Errorf("task %d is in session %d, its parent %d is not: %w", t.rec.PID, t.rec.SID, t.parent.rec.PID, ErrUnfit)
		}
		if leader.helper() {
			t.parent = leader
			continue
		}
		// The leader lives elsewhere in the tree: a ghost below it forks the
		// task and ends, and init adopts the orphan.
		between := r.newGhost(r.freePID(), t.rec.SID)
		between.parent = leader
		t.parent = between
	}
	return nil
}

// adopts tells whether orphans come to a task: init or a subreaper.
func (r *restorer) adopts(t *task) bool { return t == r.root || t.rec.Subreaper }

// inherits tells whether a task's session is one that its parent was in at some
// time: the parent's own, or the one before the parent started its own.
func (r *restorer) inherits(t *task) bool {
	p := t.parent
	if t.rec.SID == p.rec.SID {
		return true
	}
	if p.rec.SID != p.rec.PID {
		return false
	}
	if p == r.root {
		return t.rec.SID == r.outerSID
	}
	return p.parent != nil && t.rec.SID == p.parent.rec.SID
}

// newGhost makes a helper below the root.
func (r *restorer) newGhost(pid, sid int32) *task {
	g := &task{ghost: true, parent: r.root, rec: &specs.Task{
		PID: pid, SID: sid, PGID: pid, State: "running", Comm: "ghost", ExitSignal: int32(unix.SIGCHLD),
	}}
	r.tasks = append(r.tasks, g)
	return g
}

// joinGroups puts every task into its process group. A group whose leader is
// dead is led by a ghost until all have joined.
func (r *restorer) joinGroups() error {
	groups := map[int32]bool{}
	for _, t := range r.made {
		if t.rec.PGID == t.rec.PID && t.rec.SID != t.rec.PID && !t.ghost {
			if err := r.setpgid(t); err != nil {
				return err
			}
		}
		groups[t.rec.PID] = true
	}
	for _, t := range append([]*task(nil), r.made...) {
		if t.ghost || t.rec.PGID == t.rec.PID || t.rec.PGID == 0 {
			continue
		}
		if !groups[t.rec.PGID] {
			if err := r.ghostGroup(t); err != nil {
				return err
			}
			groups[t.rec.PGID] = true
		}
		if err := r.setpgid(t); err != nil {
			return err
		}
	}
	return nil
}

// ghostGroup has a task fork a helper that leads a new group in its session.
func (r *restorer) ghostGroup(t *task) error {
	g := r.newGhost(t.rec.PGID, t.rec.SID)
	g.parent = t
	if err := r.fork(t, g); err != nil {
		return err
	}
	return r.setpgid(g)
}

func (r *restorer) setpgid(t *task) error {
	_, err := r.call(t, unix.SYS_SETPGID, 0, uint64(t.rec.PGID))
	if err == nil {
		return nil
	}
	return taskError("join process group", t, err)
}
