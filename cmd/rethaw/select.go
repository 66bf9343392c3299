package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/rethaw/rethaw/plugin"
)

// selection says which containers a verb is for, beside those that are named.
type selection struct {
	all, latest bool
	pid         int
	// keep keeps a log beside each image.
	keep bool
}

// flags adds the options of the selection, with podman's names; what tells which all are.
func (s *selection) flags(flags *pflag.FlagSet, what string) {
	flags.BoolVarP(&s.all, "all", "a", false, "all "+what+" of the engines that --runtime and --root choose")
	flags.BoolVarP(&s.latest, "latest", "l", false, "the container that was made last")
	flags.BoolVarP(&s.keep, "keep", "k", false, "keep a log of each step beside the image, in DIR.log")
}

// valid tells whether options and names go together.
func (s *selection) valid(args []string) error {
	chosen := 0
	for _, one := range []bool{s.all, s.latest, s.pid != 0, len(args) > 0} {
		if one {
			chosen++
		}
	}
	switch chosen {
	case 0:
		return usageError{"name a container, or use --latest or --all, or name a process tree with --pid"}
	case 1:
		return nil
	}
	return usageError{"name containers, or use one of --latest, --all and --pid, not several of these"}
}

// running finds the containers that are to be checkpointed.
func (a *app) running(ctx context.Context, args []string, s selection) ([]plugin.Container, error) {
	if err := s.valid(args); err != nil {
		return nil, err
	}
	r, err := a.registry()
	if err != nil {
		return nil, err
	}
	if s.all {
		return r.Running(ctx)
	}
	if s.latest {
		c, err := r.Latest(ctx)
		return []plugin.Container{c}, err
	}
	if s.pid != 0 {
		c, err := plugin.Tree(s.pid)
		return []plugin.Container{c}, err
	}
	var found []plugin.Container
	for _, name := range args {
		c, err := r.Find(ctx, name)
		if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, nil
}

// target finds what the only argument or --pid names.
func (a *app) target(ctx context.Context, args []string, pid int) (plugin.Container, error) {
	found, err := a.running(ctx, args, selection{pid: pid})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// each does something with every container. With several, what fails with one does not keep
// it from the others, and the names of those that it was done with are printed.
func (a *app) each(ctx context.Context, containers []plugin.Container, do func(plugin.Container) error) error {
	if len(containers) == 1 {
		return do(containers[0])
	}
	var failed error
	for _, c := range containers {
		if err := ctx.Err(); err != nil {
			return errors.Join(failed, context.Cause(ctx))
		}
		if err := do(c); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.Candidate().Called(), err))
			continue
		}
		printf(a.stdout, c.Candidate().Called())
	}
	return failed
}
