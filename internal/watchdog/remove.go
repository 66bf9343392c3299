package watchdog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"
)

// Remove is a container that a runtime makes for us: what it does goes on when we are dead, and
// nobody would ever start what comes of it.
type Remove struct {
	// ID is the container's; as long as a process has it among its arguments, beside one of Verbs, the
	// container is still being made.
	ID    string   `json:"id"`
	Verbs []string `json:"verbs"`
	// State is the file that the runtime keeps for the container. It must hold Mark, or the
	// container is somebody else's.
	State string `json:"state"`
	Mark  string `json:"mark"`
	// Command kills and removes it.
	Command []string `json:"command"`
}

// removing is how long it is tried.
const removing = time.Minute

func (r *Remove) do() error {
	var failed error
	for begin := time.Now(); time.Since(begin) < removing; time.Sleep(pause) {
		if r.underWay() {
			continue
		}
		state, err := os.ReadFile(r.State)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !bytes.Contains(state, []byte(r.Mark)) {
			return nil
		}
		failed = nil
		if said, err := exec.Command(r.Command[0], r.Command[1:]...).CombinedOutput(); err != nil {
			failed = fmt.Errorf("%v: %w: %s", r.Command, err, said)
		}
	}
	return failed
}

// underWay tells whether somebody is at work on the container. Whom we have started before our death
// has begun with it: it held our end of the socket until then.
func (r *Remove) underWay() bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil {
			continue
		}
		args := bytes.Split(text, []byte{0})
		has := func(arg string) bool {
			return slices.ContainsFunc(args, func(a []byte) bool { return string(a) == arg })
		}
		if has(r.ID) && slices.ContainsFunc(r.Verbs, has) {
			return true
		}
	}
	return false
}
