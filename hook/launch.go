package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/internal/private"
	"github.com/rethaw/rethaw/plugin"
)

// plan is what a hook gives to the agent that it starts.
type plan struct {
	ID     string  `json:"id"`
	Bundle string  `json:"bundle"`
	Rootfs string  `json:"rootfs"`
	Init   int     `json:"init"`
	Wishes *Wishes `json:"wishes"`
	// Runtime and Root are the program of the runtime and its state directory, "" for
	// its default.
	Runtime string `json:"runtime,omitempty"`
	Root    string `json:"root,omitempty"`
	// Armed is when the container was made: what changes later is the program's work.
	Armed time.Time `json:"armed"`
	// Mountpoint is the root filesystem in which the socket is mounted, "" for none.
	Mountpoint string `json:"mountpoint,omitempty"`
}

// restoreImage is the absolute path of the image to restore.
func (p *plan) restoreImage() string { return under(p.Bundle, p.Wishes.Restore) }

// createRuntime starts the agent and waits until all is in place.
func createRuntime(s *runtimespec.State, w *Wishes) error {
	if w.Restore == "" && !w.images() {
		return nil
	}
	if s.Pid == 0 {
		return fmt.Errorf("%w of the stage createRuntime: it has no pid", ErrState)
	}
	for to, wanted := range map[plugin.Work]bool{plugin.ToRestore: w.Restore != "", plugin.ToCheckpoint: w.images()} {
		if !wanted {
			continue
		}
		if err := plugin.CheckPrivilege(to); err != nil {
			return err
		}
	}
	where := placeOf(s.ID, s.Bundle)
	if old, err := readRecord(where); err == nil && old.Init == s.Pid && old.alive() {
		// The configuration has the hook twice, as prestart and as createRuntime.
		return nil
	}
	p, err := newPlan(s, w)
	if err != nil {
		return err
	}
	if err := where.make(); err != nil {
		return fmt.Errorf("a directory for the agent: %w", err)
	}
	return launch(p, where)
}

// newPlan completes what the agent has to know, and checks what can be checked without it.
func newPlan(s *runtimespec.State, w *Wishes) (*plan, error) {
	c, err := readConfig(s.Bundle)
	if err != nil {
		return nil, err
	}
	p := &plan{ID: s.ID, Bundle: s.Bundle, Init: s.Pid, Wishes: w, Armed: coarseNow()}
	if p.Rootfs, err = c.rootfs(s.Bundle); err != nil {
		return nil, err
	}
	if w.Restore != "" {
		// `rethaw restore` of a bundle with the annotation: its image counts.
		explicit, err := plugin.Restoring(s.ID)
		if err != nil {
			return nil, err
		}
		if explicit {
			w.Restore = ""
		}
	}
	if err := c.outOfReach(p); err != nil {
		return nil, err
	}
	if w.images() {
		if p.Runtime, p.Root, err = caller(os.Getppid()); err != nil {
			return nil, err
		}
	}
	if w.OnRequest {
		if !slices.ContainsFunc(c.hooks().CreateContainer, func(h runtimespec.Hook) bool { return ours(h, "createContainer") }) {
			return nil, fmt.Errorf("%scheckpoint.on-request needs the hook at the stage createContainer too: `rethaw hook add %s` adds what is missing",
				Prefix, s.Bundle)
		}
		p.Mountpoint = p.Rootfs
	}
	return p, nil
}

// hooks are the hooks of a configuration, maybe none.
func (c *config) hooks() *runtimespec.Hooks {
	if c.Hooks == nil {
		return new(runtimespec.Hooks)
	}
	return c.Hooks
}

// coarseNow is the time as file systems note it, which is behind the exact one by up
// to a tick.
func coarseNow() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return time.Now()
	}
	return time.Unix(ts.Unix())
}

// agentVerb follows `rethaw hook` in the command line of an agent.
const agentVerb = "agent"

// reportFD is the descriptor at which an agent tells its hook how it went.
const reportFD = 3

// report is what it tells.
type report struct {
	Error string `json:"error,omitempty"`
	Ready bool   `json:"ready,omitempty"`
}

// launch starts the agent. Runtimes wait for all who have a hook's output, so the agent has
// none of our descriptors.
func launch(p *plan, where place) error {
	// A runtime may have left descriptors open in us.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return os.NewSyscallError("close_range", err)
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := private.OpenFile(where.log(), os.O_WRONLY|os.O_APPEND)
	if err != nil {
		return err
	}
	defer log.Close()
	planRead, planWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer planRead.Close()
	defer planWrite.Close()
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		return err
	}
	defer reportRead.Close()
	defer reportWrite.Close()
	agent, err := os.StartProcess(program, []string{filepath.Base(program), "hook", agentVerb}, &os.ProcAttr{
		Dir:   "/",
		Env:   os.Environ(),
		Files: []*os.File{planRead, log, log, reportWrite},
		Sys:   &unix.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting the agent: %w", err)
	}
	defer func() { _ = agent.Release() }()
	reportWrite.Close()
	planRead.Close()
	if err := json.NewEncoder(planWrite).Encode(p); err != nil {
		return fmt.Errorf("telling the agent what to do: %w", err)
	}
	planWrite.Close()
	return await(reportRead, where)
}

// await reads an agent's report.
func await(from io.Reader, where place) error {
	var r report
	err := json.NewDecoder(from).Decode(&r)
	switch {
	case err != nil:
		return fmt.Errorf("the agent ended without a word (its log is %s): %w", where.log(), err)
	case r.Error != "":
		return errors.New(r.Error)
	case !r.Ready:
		return errors.New("the agent is not ready and does not say why")
	}
	return nil
}
