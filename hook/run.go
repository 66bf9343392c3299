package hook

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

// stages is the table of the stages at which something is done.
func stages() map[string]func(*runtimespec.State, *Wishes) error {
	return map[string]func(*runtimespec.State, *Wishes) error{
		"createRuntime":   createRuntime,
		"prestart":        createRuntime, // its former name
		"createContainer": createContainer,
		"startContainer":  nothing,
		"poststart":       nothing,
		"poststop":        poststop,
	}
}

// nothing is done at the stages that are only there for completeness.
func nothing(*runtimespec.State, *Wishes) error { return nil }

// IsStage tells whether name is a stage of the OCI runtime specification.
func IsStage(name string) bool {
	_, ok := stages()[name]
	return ok
}

// Run is `rethaw hook STAGE`: stdin is the container's state. For a container without
// annotations of ours it does nothing, and makes nothing.
func Run(stage string, stdin io.Reader) error {
	act, ok := stages()[stage]
	if !ok {
		return fmt.Errorf("there is no hook stage %q: there are %s",
			stage, strings.Join(slices.Sorted(maps.Keys(stages())), ", "))
	}
	s, err := readState(stdin)
	if err != nil {
		return err
	}
	w, err := wishes(s)
	if err != nil && stage == "poststop" {
		// There is something to clean up even so, and nobody to correct it.
		w, err = new(Wishes), nil
	}
	if err == nil && w != nil {
		err = act(s, w)
	}
	if err == nil {
		return nil
	}
	err = fmt.Errorf("container %q: %w", s.ID, err)
	if stage == "createRuntime" || stage == "prestart" {
		return errors.Join(err, remember(s, err))
	}
	return err
}

// remember keeps why a container could not be created for `rethaw status`: not every runtime
// shows what a hook says.
func remember(s *runtimespec.State, cause error) error {
	where := placeOf(s.ID, s.Bundle)
	if old, err := readRecord(where); err == nil && (old.alive() || old.State == Failed && old.Init == s.Pid) {
		return nil
	}
	if _, err := readConfig(s.Bundle); err != nil || s.Pid == 0 || os.Geteuid() != 0 {
		return nil // not called by a runtime
	}
	// The log of an agent that has died without a word says more.
	if _, err := os.Stat(where.log()); err != nil {
		if err := where.make(); err != nil {
			return err
		}
	}
	k := &recorder{place: where, record: Record{ID: s.ID, Bundle: s.Bundle, Init: s.Pid}}
	return k.turn(Failed, cause)
}
