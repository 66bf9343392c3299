package restore

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/rethaw/rethaw/internal/inject"
	"golang.org/x/sys/unix"
)

// restoreTasks gives every task what belongs to the process, and its threads
// what belongs to them. Credentials come late: what is before may need rights
// that they do not have; seccomp filters do not bind while they are suspended.
func (r *restorer) restoreTasks() error {
	for _, t := range r.made {
		if t.ghost || t.rec.State == "zombie" {
			continue
		}
		for _, step := range []struct {
			name string
			run  func(*task) error
		}{
			{"lock future memory", r.lockFuture},
			{"restore process state", r.process},
			{"restore limits", r.limits},
			{"restore signal handlers", r.handlers},
			{"make timers", r.makeTimers},
			{"restore threads", r.restoreThreads},
			{"restore dumpable", r.dumpable},
		} {
			if err := step.run(t); err != nil {
				return taskError(step.name, t, err)
			}
		}
	}
	return nil
}

// batch is a list of calls that all must succeed.
type batch struct {
	calls []inject.Call
	what  []string
}

func (b *batch) add(what string, nr uint64, args ...uint64) {
	c := inject.Call{Nr: nr}
	copy(c.Args[:], args)
	b.calls, b.what = append(b.calls, c), append(b.what, what)
}

// prepend puts other calls in front.
func (b *batch) prepend(first batch) {
	b.calls, b.what = slices.Concat(first.calls, b.calls), slices.Concat(first.what, b.what)
}

// run makes the calls in a thread of a task.
func (b *batch) run(t *task, th *thread) error {
	if len(b.calls) == 0 {
		return nil
	}
	if err := t.arena.Run(th.traced, b.calls, nil); err != nil {
		return err
	}
	return b.failure()
}

// failure is the error of the first call that has failed.
func (b *batch) failure() error {
	for i, c := range b.calls {
		if c.Ret < 0 && c.Ret > -4096 {
			return fmt.Errorf("%s: %w", b.what[i], unix.Errno(-c.Ret))
		}
	}
	return nil
}

// process sets prctl(2) state and what others may write of a process.
func (r *restorer) process(t *task) error {
	var b batch
	if t.rec.Subreaper {
		b.add("set child subreaper", unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER, 1)
	}
	b.processAttributes(t.rec)
	b.add("set personality", unix.SYS_PERSONALITY, uint64(t.rec.Personality))
	if err := b.run(t, t.threads[0]); err != nil {
		return err
	}
	if err := r.autogroup(t); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"oom_score_adj":   strconv.Itoa(int(t.rec.OOMScoreAdj)),
		"coredump_filter": fmt.Sprintf("%#x", t.rec.CoredumpFilter),
	} {
		if err := os.WriteFile(t.procPath("%s", name), []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// dumpable comes last: a change of credentials resets it.
func (r *restorer) dumpable(t *task) error {
	if t.rec.Dumpable > 1 {
		return nil // 2 is what the kernel sets by itself (fs.suid_dumpable)
	}
	_, err := r.call(t, unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, uint64(t.rec.Dumpable))
	return err
}
