package hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/rethaw/rethaw/internal/private"
	"github.com/rethaw/rethaw/internal/procfs"
)

// What an agent is at.
const (
	// Arming: the hook has been called and not returned.
	Arming = "arming"
	// Armed: the container will be restored when it is started.
	Armed = "armed"
	// Waiting: the container is not started yet.
	Waiting = "waiting"
	// Restored: the container runs, restored from an image.
	Restored = "restored"
	// Running: the container runs, started afresh.
	Running = "running"
	// Failed: what was asked for did not succeed, and the container was killed or not
	// created.
	Failed = "failed"
	// Ended: the container has ended, and the agent with it.
	Ended = "ended"
)

// Record is what is known of a container that asks for something by its annotations.
type Record struct {
	ID     string `json:"id"`
	Bundle string `json:"bundle"`
	// Init is the host pid of the container's init.
	Init int `json:"init"`
	// Agent is the pid of the agent, 0 when it has nothing more to do, and AgentStart its start time in clock ticks
	// (proc_pid_stat(5), field 22).
	Agent      int    `json:"agent,omitempty"`
	AgentStart uint64 `json:"agent_start,omitempty"`
	// State is one of the words above, Since when; Error is what failed last.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
	// Image is the one that the container is restored from.
	Image  string  `json:"image,omitempty"`
	Wishes *Wishes `json:"wishes,omitempty"`
	// Images are the last ones that were taken, or failed to be.
	Images []Taken `json:"images,omitempty"`
	// Mountpoint is the root filesystem in which the socket is mounted, "" for none.
	Mountpoint string `json:"mountpoint,omitempty"`
	// Log is the path of the agent's log; it is not on disk.
	Log string `json:"log,omitempty"`
}

// Taken is one image, or an attempt to take one.
type Taken struct {
	Trigger string    `json:"trigger"`
	Image   string    `json:"image"`
	At      time.Time `json:"at"`
	Error   string    `json:"error,omitempty"`
}

// maxTaken is how many images a record remembers.
const maxTaken = 20

// alive tells whether the record's agent runs.
func (r *Record) alive() bool {
	if r.Agent == 0 {
		return false
	}
	stat, err := procfs.ReadStat(r.Agent)
	return err == nil && stat.StartTime == r.AgentStart && stat.State != 'Z' && stat.State != 'X'
}

// readRecord reads the record of a place.
func readRecord(p place) (*Record, error) {
	data, err := os.ReadFile(p.status())
	if err != nil {
		return nil, err
	}
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s: %w", p.status(), err)
	}
	return r, nil
}

// recorder keeps a record on disk as it changes.
type recorder struct {
	place place

	mu     sync.Mutex
	record Record
}

// change changes the record and writes it, in one step for readers.
func (k *recorder) change(f func(*Record)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.record)
	data, err := json.MarshalIndent(&k.record, "", "  ")
	if err != nil {
		return err
	}
	temp := k.place.draft()
	if err := private.WriteFile(temp, append(data, '\n')); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, k.place.status())
}

// turn notes a new state; err is nil or what led to it.
func (k *recorder) turn(state string, err error) error {
	return k.change(func(r *Record) {
		r.State, r.Since = state, time.Now()
		if err != nil {
			r.Error = err.Error()
		}
	})
}

// took notes an image.
func (k *recorder) took(t Taken) error {
	return k.change(func(r *Record) {
		r.Images = append(r.Images, t)
		r.Images = r.Images[max(0, len(r.Images)-maxTaken):]
	})
}
