package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/plugin"
	"github.com/rethaw/rethaw/restore"
)

// agent serves one container from its making to its end.
type agent struct {
	plan  *plan
	log   *logrus.Entry
	tool  string
	notes *recorder
	init  *initTask
	// jobs are the images to be taken, one after the other.
	jobs chan job
	// door is where the program asks for images, nil without that.
	door *door
	once sync.Once
	tell *os.File
}

// IsAgent tells whether the arguments of a program after its name are an agent's.
func IsAgent(args []string) bool {
	return len(args) == 2 && args[0] == "hook" && args[1] == agentVerb
}

// Agent is an agent, which createRuntime starts: it reads its plan from stdin, tells its
// hook when all is in place, and stays with the container. tool is the program's version.
func Agent(stdin io.Reader, tool string) error {
	tell, err := reportPipe()
	if err != nil {
		return err
	}
	a := &agent{log: newLog(), tool: tool, tell: tell, jobs: make(chan job)}
	p := new(plan)
	if err := json.NewDecoder(io.LimitReader(stdin, maxState)).Decode(p); err != nil || p.Wishes == nil {
		return a.report(fmt.Errorf("an agent is started by the hook at the stage createRuntime alone: %w", err))
	}
	a.plan = p
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	return a.run(ctx)
}

// reportPipe takes over the pipe to the hook.
func reportPipe() (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(reportFD, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return nil, errors.New("an agent is started by the hook at the stage createRuntime alone")
	}
	unix.CloseOnExec(reportFD)
	return os.NewFile(reportFD, "report"), nil
}

// newLog logs to stderr, which is the agent's log file.
func newLog() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(os.Stderr)
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: time.RFC3339Nano})
	return logrus.NewEntry(l)
}

// report tells the hook how it went, the first time that it is called, and returns err.
func (a *agent) report(err error) error {
	told := error(nil)
	a.once.Do(func() {
		r := report{Ready: err == nil}
		if err != nil {
			r.Error = err.Error()
		}
		told = json.NewEncoder(a.tell).Encode(&r)
		a.tell.Close()
	})
	return errors.Join(err, told)
}

// run is the life of an agent.
func (a *agent) run(ctx context.Context) error {
	p := a.plan
	self, err := procfs.ReadStat(os.Getpid())
	if err != nil {
		return a.report(err)
	}
	where := placeOf(p.ID, p.Bundle)
	a.notes = &recorder{place: where, record: Record{
		ID: p.ID, Bundle: p.Bundle, Init: p.Init, Agent: os.Getpid(), AgentStart: self.StartTime,
		Wishes: p.Wishes, State: Arming, Since: time.Now(), Mountpoint: p.Mountpoint,
	}}
	if a.init, err = watchInit(p.Init); err != nil {
		return a.report(err)
	}
	defer a.init.close()
	if p.Wishes.OnRequest {
		if a.door, err = openDoor(where.socket()); err != nil {
			return a.report(err)
		}
		defer a.door.close()
	}
	if err := a.begin(ctx); err != nil {
		if errors.Is(err, restore.ErrNotStarted) || errors.Is(err, errEnded) {
			// The runtime has given the container up, for reasons of its own. It may
			// call no more hooks then.
			return errors.Join(a.report(nil), a.notes.record.unmake(where), where.remove())
		}
		a.log.Error(err)
		return errors.Join(a.notes.turn(Failed, err), a.report(err))
	}
	if !p.Wishes.images() {
		// All is done, and the container runs without us.
		return a.notes.change(func(r *Record) { r.Agent, r.AgentStart = 0, 0 })
	}
	if err := a.serve(ctx); err != nil {
		a.log.Error(err)
		return err
	}
	return a.notes.turn(Ended, nil)
}

// begin waits for the container's process, restoring it if that is asked for.
func (a *agent) begin(ctx context.Context) error {
	if a.plan.Wishes.Restore == "" {
		if err := a.notes.turn(Waiting, nil); err != nil {
			return err
		}
		if err := a.report(nil); err != nil {
			return err
		}
		if err := a.init.started(ctx); err != nil {
			return err
		}
		return a.notes.turn(Running, nil)
	}
	image := a.plan.restoreImage()
	err := a.notes.change(func(r *Record) { r.Image = image })
	if err != nil {
		return err
	}
	var with []sealed.Identity
	if w := a.plan.Wishes; w.Identity != "" {
		if with, err = sealed.Identities([]string{w.Identity}); err != nil {
			return err
		}
	}
	result, err := plugin.Arm(ctx, plugin.Arming{
		ID: a.plan.ID, Bundle: a.plan.Bundle, Init: a.plan.Init,
		Armed: func() error {
			if err := a.notes.turn(Armed, nil); err != nil {
				return err
			}
			a.log.WithField("image", image).Info("armed")
			return a.report(nil)
		},
		With:    with,
		Digest:  a.plan.Wishes.Digest,
		Options: restore.Options{Image: image, Log: a.log},
	})
	if err != nil {
		return fmt.Errorf("restoring %s: %w", image, err)
	}
	a.plan.Armed = coarseNow()
	a.log.WithField("tasks", result.Tasks).Info("restored")
	return a.notes.turn(Restored, nil)
}
