package hook

import (
	"fmt"
	"os"
	"strings"

	"github.com/rethaw/rethaw/plugin"
)

// Status returns the records of the containers that name may mean: those with that id, or
// else those whose id begins with it; all if name is "". None for a name is a
// plugin.ErrNotFound.
func Status(name string) ([]Record, error) {
	var exact, begin []Record
	for _, p := range places() {
		r, err := readRecord(p)
		if err != nil || !strings.HasPrefix(r.ID, name) {
			continue
		}
		if _, err := os.Stat(p.log()); err == nil {
			r.Log = p.log()
		}
		if r.lost() {
			r.State, r.Error = Failed, lostText(r)
		}
		begin = append(begin, *r)
		if r.ID == name {
			exact = append(exact, *r)
		}
	}
	switch {
	case len(exact) > 0:
		return exact, nil
	case len(begin) == 0 && name != "":
		return nil, fmt.Errorf("%w with annotations %s*: %q", plugin.ErrNotFound, Prefix, name)
	}
	return begin, nil
}

// lost tells of an agent that has died before its time.
func (r *Record) lost() bool {
	return r.State != Failed && r.State != Ended && r.Agent != 0 && !r.alive()
}

// lostText says what that means.
func lostText(r *Record) string {
	if r.State == Armed || r.State == Arming {
		return fmt.Sprintf("the agent (pid %d) has died, and the container with it, before the restore", r.Agent)
	}
	return fmt.Sprintf("the agent (pid %d) has died: no further images are taken of this run of the container", r.Agent)
}
