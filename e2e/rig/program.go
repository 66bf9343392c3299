package rig

import (
	"fmt"
	"os"
	"path/filepath"
)

// Program is a container whose init is a state program of e2e/programs: it
// builds its state, keeps a random nonce in memory alone, and checks all of it
// from inside each time it is asked (Talk).
type Program struct {
	*Container
	Talk
}

// RunProgram compiles e2e/programs/NAME.c, runs it in a container of its own and
// waits until its state is built.
func (r *Rig) RunProgram(t TB, name string, config Config) *Program {
	t.Helper()
	p := r.NewProgram(t, name, config)
	p.Run()
	p.WaitReady()
	return p
}

// NewProgram is RunProgram without the run.
func (r *Rig) NewProgram(t TB, name string, config Config) *Program {
	t.Helper()
	config.Args = append([]string{"/programs/" + name}, config.Args...)
	p := r.New(t, config).Program()
	p.AddProgram(r.CProgram(t, name), name)
	return p
}

// AddProgram puts a binary into the rootfs as /programs/NAME.
func (c *Container) AddProgram(binary, name string) {
	c.t.Helper()
	text, err := os.ReadFile(binary)
	must(c.t, err, "read program")
	must(c.t, os.WriteFile(filepath.Join(c.Rootfs, "programs", name), text, 0o755), "copy program")
}

// Program takes what the container runs for a state program.
func (c *Container) Program() *Program {
	return &Program{Container: c, Talk: Talk{tb: c.t, dir: c.StateDir, silent: func() string {
		state, _ := c.State()
		return fmt.Sprintf("the container is %q and wrote:\n%s", state.Status, c.Output())
	}}}
}
