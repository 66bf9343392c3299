package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/plugin"
)

// restoreCommand is `rethaw restore`.
func restoreCommand(a *app) *cobra.Command {
	var r plugin.Request
	var which selection
	var name string
	var stats bool
	var from plugin.Import
	var identities []string
	c := &cobra.Command{
		Use:   "restore [flags] CONTAINER | restore [flags] --image DIR | --import FILE",
		Short: "Restore an image into a fresh container",
		Long: "Have the runtime make a fresh container from the bundle and restore the image in it, or\n" +
			"restart a container of podman that stands still as the one of the image.\n" +
			"Without a container name the image must be of a process tree (checkpoint --pid).\n" +
			"Without --detach rethaw stays in the foreground as `runc run` does: it forwards signals and\n" +
			"exits with the status of the container.",
		Example: "  rethaw restore --bundle /srv/web web\n  rethaw restore --bundle /srv/web --image /srv/web.image --detach --name web2\n" +
			"  rethaw restore --runtime podman --detach web\n  rethaw restore --image /tmp/job\n" +
			"  rethaw restore --bundle /srv/web --import /srv/web.tar.zst web",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if from.File == "" && cmd.Flags().Changed("import") {
				return usageError{"--import names no file: give one, or - for stdin"}
			}
			if from.File != "" && r.Options.Image != "" {
				return usageError{"--image and --import both name the image: use one of them"}
			}
			for _, name := range []string{"ignore-rootfs", "ignore-volumes", "ignore-static-ip", "ignore-static-mac"} {
				if cmd.Flags().Changed(name) && from.File == "" {
					return usageError{"--" + name + " is for an --import: an image has neither root filesystem, volumes nor addresses"}
				}
			}
			from.Stdin, from.Keep = a.stdin, which.keep
			var err error
			if from.With, err = sealed.Identities(identities); err != nil {
				return err
			}
			if r.Digest, err = digestFlag(cmd); err != nil {
				return err
			}
			r.Watchdog = watchdog.Launch
			requests, err := a.requests(cmd.Context(), r, from, which, name, args)
			if err != nil {
				return err
			}
			if len(requests) > 1 {
				return a.restoreAll(cmd.Context(), requests, from, stats)
			}
			r := requests[0]
			var signals <-chan os.Signal
			if !r.Detach {
				// From the start, so that none is lost between restore and wait.
				s, stop := plugin.Signals()
				defer stop()
				signals = s
			}
			r.Spec.Stdin, r.Spec.Stdout, r.Spec.Stderr = a.stdin, a.stdout, a.stderr
			session, err := a.restore(cmd.Context(), r, from)
			if err != nil {
				return err
			}
			if stats {
				if err := printJSON(a.stderr, session.Result); err != nil {
					return err
				}
			}
			if r.Detach {
				session.Release()
				return nil
			}
			// From here on signals are the container's, the one that came too late
			// to cancel the restore first.
			a.uninterrupt()
			a.status, err = session.Wait(cmd.Context(), signals)
			return err
		},
	}
	flags := c.Flags()
	which.flags(flags, "stopped containers of podman that have an image")
	flags.StringVarP(&name, "name", "n", "", "name of the container to be made, instead of the argument")
	flags.StringVarP(&r.Spec.Bundle, "bundle", "b", "", "directory of the bundle (default: the current one; podman's containers have their own)")
	flags.StringVar(&r.Options.Image, "image", "", "directory of the image (default: checkpoint in the bundle)")
	flags.StringVarP(&from.File, "import", "i", "", "restore the stream of checkpoint --export in this file, - for stdin")
	identityFlag(flags, &identities)
	flags.String("digest", "", "restore nothing but the image of this digest (see rethaw verify --digest)")
	flags.BoolVar(&from.IgnoreRootfs, "ignore-rootfs", false, "do not apply the changes of the root filesystem that the --import has")
	flags.BoolVar(&from.IgnoreVolumes, "ignore-volumes", false, "do not make the volumes that the --import has: use those that are there")
	flags.BoolVar(&from.IgnoreStaticIP, "ignore-static-ip", false, "let the container of podman that the --import makes have another address")
	flags.BoolVar(&from.IgnoreStaticMAC, "ignore-static-mac", false, "let the container of podman that the --import makes have another MAC address")
	flags.BoolVar(&r.Options.TCPEstablished, "tcp-established", false, "restore TCP connections that led out of the container")
	flags.BoolVar(&r.Options.TCPClose, "tcp-close", false, "restore TCP connections that led out of the container as reset")
	flags.Bool("file-locks", false, "accepted as podman's: locks on files that the image has are taken in any case")
	flags.BoolVarP(&r.Detach, "detach", "d", false, "leave the container to itself once it is restored")
	flags.StringVar(&r.PidFile, "pid-file", "", "write the host pid of the container's init there")
	flags.StringVar(&r.Spec.ConsoleSocket, "console-socket", "", "socket that takes the master of the container's terminal (with --detach)")
	flags.BoolVar(&r.Spec.NoPivot, "no-pivot", false, "have the runtime not use pivot_root")
	flags.BoolVar(&r.Spec.NoNewKeyring, "no-new-keyring", false, "have the runtime make no session keyring")
	flags.BoolVar(&r.Spec.SystemdCgroup, "systemd-cgroup", false, "have the runtime make the cgroups through systemd")
	flags.BoolVar(&stats, "print-stats", false, "print the figures of the restore as JSON on stderr (times in microseconds)")
	return c
}

// requests are the restores that the command line asks for.
func (a *app) requests(ctx context.Context, r plugin.Request, from plugin.Import, s selection, name string, args []string) ([]plugin.Request, error) {
	if name != "" {
		if len(args) > 0 {
			return nil, usageError{"name the container by --name or by an argument"}
		}
		args = []string{name}
	}
	if len(args) > 0 || s.all || s.latest {
		if err := s.valid(args); err != nil {
			return nil, err
		}
	} else if r.Options.Image == "" && from.File == "" {
		return nil, usageError{"name the container to be made, or the --image or --import of a process tree"}
	}
	if s.all || s.latest {
		var err error
		if args, err = a.standing(ctx, s); err != nil {
			return nil, err
		}
	}
	if len(args) == 0 {
		return []plugin.Request{r}, nil
	}
	var all []plugin.Request
	for _, id := range args {
		r.Spec.ID = id
		all = append(all, r)
	}
	if len(all) == 1 {
		return all, nil
	}
	if from.File != "" || r.Digest != "" {
		return nil, usageError{"--import and --digest are for one container"}
	}
	if !r.Detach || r.PidFile != "" || r.Spec.ConsoleSocket != "" || r.Spec.Bundle != "" {
		return nil, usageError{"several containers are restored with --detach alone, each from its own bundle"}
	}
	return all, nil
}

// standing returns the ids of the containers that --all or --latest means.
func (a *app) standing(ctx context.Context, s selection) ([]string, error) {
	if err := plugin.CheckPrivilege(plugin.ToRestore); err != nil {
		return nil, err
	}
	registry, err := a.registry()
	if err != nil {
		return nil, err
	}
	found, err := registry.Standing(ctx)
	if err != nil {
		return nil, err
	}
	if s.latest {
		return []string{found[len(found)-1].Candidate().ID}, nil
	}
	var ids []string
	for _, c := range found {
		if _, err := os.Stat(plugin.ImageDir(c.Bundle())); err == nil {
			ids = append(ids, c.Candidate().ID)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: none of the stopped containers has an image", plugin.ErrNotFound)
	}
	return ids, nil
}

// restoreAll restores several containers, one after the other. What fails with one does
// not keep it from the others.
func (a *app) restoreAll(ctx context.Context, requests []plugin.Request, from plugin.Import, stats bool) error {
	var failed error
	for _, r := range requests {
		if ctx.Err() != nil {
			return errors.Join(failed, context.Cause(ctx))
		}
		session, err := a.restore(ctx, r, from)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", r.Spec.ID, err))
			continue
		}
		session.Release()
		printf(a.stdout, session.Name())
		if stats {
			failed = errors.Join(failed, printJSON(a.stderr, session.Result))
		}
	}
	return failed
}

// restore restores one image.
func (a *app) restore(ctx context.Context, r plugin.Request, from plugin.Import) (*plugin.Session, error) {
	work := plugin.ToRestore
	if r.Spec.ID == "" {
		work = plugin.ToRestoreTree
	}
	if err := plugin.CheckPrivilege(work); err != nil {
		return nil, err
	}
	registry, err := a.registry()
	if err != nil {
		return nil, err
	}
	if from.Keep && from.File != "" {
		// The log is beside the image from the beginning.
		if _, err := registry.ImageOf(ctx, r); errors.Is(err, plugin.ErrNotFound) || r.Spec.ID == "" && r.Spec.Bundle == "" {
			return nil, usageError{"--keep keeps the image of an --import in its --bundle, or with a container of podman that is there: name it, or leave out --keep"}
		}
	}
	log, done, err := a.keepLog(from.Keep, func() (string, error) { return registry.ImageOf(ctx, r) })
	if err != nil {
		return nil, err
	}
	defer done()
	r.Options.Log = log
	if from.File == "" && len(from.With) == 0 {
		return plugin.Restore(ctx, registry, r)
	}
	return plugin.RestoreFrom(ctx, registry, r, from)
}
