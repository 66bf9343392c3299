package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/plugin"
)

// restoreCommand is `rethaw restore`.
func restoreCommand(a *app) *cobra.Command {
	var r plugin.Request
	var stats bool
	c := &cobra.Command{
		Use:   "restore [flags] CONTAINER | restore [flags] --image DIR",
		Short: "Restore an image into a fresh container",
		Long: "Have the runtime make a fresh container from the bundle and restore the image in it.\n" +
			"Without a container name the image must be of a process tree (checkpoint --pid).\n" +
			"Without --detach rethaw stays in the foreground as `runc run` does: it forwards signals and\n" +
			"exits with the status of the container.",
		Example: "  rethaw restore --bundle /srv/web web\n  rethaw restore --bundle /srv/web --image /srv/web.image --detach web2\n  rethaw restore --image /tmp/job",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var signals <-chan os.Signal
			if !r.Detach {
				// From the start, so that none is lost between restore and wait.
				s, stop := plugin.Signals()
				defer stop()
				signals = s
			}
			r.Spec.Stdin, r.Spec.Stdout, r.Spec.Stderr = a.stdin, a.stdout, a.stderr
			session, err := a.restore(cmd.Context(), args, r)
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
	flags.StringVarP(&r.Spec.Bundle, "bundle", "b", "", "directory of the bundle (default: the current one; podman's containers have their own)")
	flags.StringVar(&r.Options.Image, "image", "", "directory of the image (default: checkpoint in the bundle)")
	flags.BoolVar(&r.Options.TCPEstablished, "tcp-established", false, "restore TCP connections that led out of the container")
	flags.BoolVar(&r.Options.TCPClose, "tcp-close", false, "restore TCP connections that led out of the container as reset")
	flags.BoolVarP(&r.Detach, "detach", "d", false, "leave the container to itself once it is restored")
	flags.StringVar(&r.PidFile, "pid-file", "", "write the host pid of the container's init there")
	flags.StringVar(&r.Spec.ConsoleSocket, "console-socket", "", "socket that takes the master of the container's terminal (with --detach)")
	flags.BoolVar(&r.Spec.NoPivot, "no-pivot", false, "have the runtime not use pivot_root")
	flags.BoolVar(&r.Spec.NoNewKeyring, "no-new-keyring", false, "have the runtime make no session keyring")
	flags.BoolVar(&r.Spec.SystemdCgroup, "systemd-cgroup", false, "have the runtime make the cgroups through systemd")
	flags.BoolVar(&stats, "print-stats", false, "print the figures of the restore as JSON on stderr (times in microseconds)")
	return c
}

// restore restores what the arguments name.
func (a *app) restore(ctx context.Context, args []string, r plugin.Request) (*plugin.Session, error) {
	if err := plugin.CheckPrivilege(); err != nil {
		return nil, err
	}
	if len(args) > 0 {
		r.Spec.ID = args[0]
	} else if r.Options.Image == "" {
		return nil, usageError{"name the container to be made, or the --image of a process tree"}
	}
	r.Options.Log = a.log
	registry, err := a.registry()
	if err != nil {
		return nil, err
	}
	return plugin.Restore(ctx, registry, r)
}
