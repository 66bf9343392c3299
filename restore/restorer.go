package restore

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/agent"
	"github.com/rethaw/rethaw/internal/inject"
	"github.com/rethaw/rethaw/internal/ns"
	"github.com/rethaw/rethaw/specs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// restorer is one restore under way.
type restorer struct {
	opts *Options
	log  *logrus.Entry
	img  *image.Reader
	// tasks are all of the plan, made those that exist, in the order of their
	// making.
	tasks, made []*task
	root        *task
	// engineEnd tells the engine of the end of a restore that has failed.
	engineEnd func() error
	clocks    clocks
	// bridge is nil if the image has the vdso of this kernel.
	bridge *bridge
	// processor is nil until it has been asked what it has.
	processor *processor
	// outerSID is the session of the placeholder at first.
	outerSID int32
	// environ is the environment of the fresh container's process.
	environ []byte
	// space runs functions inside the container's namespaces, pids places pids.
	space *ns.Thread
	// inside is true while the thread of space runs something.
	inside bool
	// kinds are the restorers of files by the type of their record.
	kinds map[reflect.Type]*fileKind
	pids  *agent.Agent
	// users are the container's.
	users users
	// carried is the buffer of pages on their way into a task.
	carried []byte
	// lastFork is the number of the last fork, 0 where others fork as well.
	lastFork  int32
	reopen    reopener
	ipc       ipcSpace
	place     places
	files     files
	inet      inetSockets
	terminals terminals
	// sockets are the unix sockets while they are made.
	sockets *unixSockets
	// tmpfsLater is what finishTmpfs does.
	tmpfsLater map[*specs.Tmpfs]*tmpfsLater
	stats      map[string]int64
	// noMove is set when the kernel cannot move pages between areas.
	noMove bool
	// released is set when the tasks have been let go.
	released bool
}

// step runs one step and keeps how long it took.
func (r *restorer) step(name string, f func() error) error {
	start := time.Now()
	err := f()
	us := time.Since(start).Microseconds()
	r.stats[name] += us
	r.log.WithFields(logrus.Fields{"step": name, "us": us}).Debug("restore")
	return err
}

// call makes one system call in a task's leader.
func (r *restorer) call(t *task, nr uint64, args ...uint64) (int64, error) {
	c := inject.Call{Nr: nr}
	copy(c.Args[:], args)
	if err := r.run(t, []inject.Call{c}, &c); err != nil {
		return 0, err
	}
	if c.Ret < 0 && c.Ret > -4096 {
		return c.Ret, unix.Errno(-c.Ret)
	}
	return c.Ret, nil
}

// run makes system calls in a task's leader; first takes the first of them.
func (r *restorer) run(t *task, calls []inject.Call, first *inject.Call) error {
	err := t.arena.Run(t.leader(), calls, nil)
	if first != nil {
		*first = calls[0]
	}
	return err
}

// within runs f inside the container's namespaces. To go from thread to thread
// takes longer than to open most files: what is done for many is best done in one go.
func (r *restorer) within(f func() error) error {
	if r.space == nil || r.inside {
		return f()
	}
	r.inside = true
	defer func() { r.inside = false }()
	return r.space.Do(f)
}

// freePID gives a number that no task of the image has.
func (r *restorer) freePID() int32 {
	r.place.lastFree++
	for r.usedPID(r.place.lastFree) {
		r.place.lastFree++
	}
	return r.place.lastFree
}

func (r *restorer) usedPID(pid int32) bool {
	for _, t := range r.tasks {
		if t.rec.PID == pid || t.rec.SID == pid || t.rec.PGID == pid {
			return true
		}
		for _, th := range t.threads {
			if th.rec != nil && th.rec.TID == pid {
				return true
			}
		}
	}
	return false
}

// close gives up what the restore holds. Tasks that were not released die with
// the tracer.
func (r *restorer) close() error {
	var errs []error
	seen := map[*inject.Arena]bool{}
	for _, t := range r.made {
		if t.arena != nil && !seen[t.arena] {
			seen[t.arena] = true
			errs = append(errs, t.arena.Close())
		}
	}
	r.sockets.close()
	r.files.close()
	r.terminals.close()
	r.ipc.close()
	r.inet.close()
	errs = append(errs, r.reopen.close())
	if r.space != nil {
		r.space.Close()
	}
	if r.pids != nil {
		r.pids.Close()
	}
	return errors.Join(errs...)
}

// procPath is a name below a task's directory in /proc.
func (t *task) procPath(format string, args ...any) string {
	return fmt.Sprintf("/proc/%d/", t.at) + fmt.Sprintf(format, args...)
}

// openMem opens the memory of a task.
func (t *task) openMem() (*os.File, error) { return os.OpenFile(t.procPath("mem"), os.O_RDWR, 0) }

// get reads a record of the image.
func get[T specs.Record](r *restorer, id specs.ID) (T, error) { return image.Get[T](r.img, id) }
