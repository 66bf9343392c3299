package main

import (
	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/plugin"
)

// checkpointCommand is `rethaw checkpoint`.
func checkpointCommand(a *app) *cobra.Command {
	var o checkpoint.Options
	var pid int
	var stats bool
	c := &cobra.Command{
		Use:   "checkpoint [flags] CONTAINER | --pid PID --image DIR",
		Short: "Save a running container into an image",
		Long: "Save a running container (or, with --pid, a process and all its descendants) into an image.\n" +
			"Then the tasks are killed and the container is removed, unless --leave-running is given.\n" +
			"Whatever fails, the container goes on as if nothing had happened.",
		Example: "  rethaw checkpoint web\n  rethaw checkpoint -R --image /srv/web.image web\n  rethaw checkpoint --pid 1234 --image /tmp/job",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plugin.CheckPrivilege(); err != nil {
				return err
			}
			target, err := a.target(cmd.Context(), args, pid)
			if err != nil {
				return err
			}
			o.Log, o.Tool = a.log, version()
			result, err := plugin.Checkpoint(cmd.Context(), target, o)
			if err != nil {
				return err
			}
			if stats {
				return printJSON(a.stdout, result)
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Image, "image", "", "directory of the image (default: checkpoint in the bundle)")
	flags.BoolVarP(&o.LeaveRunning, "leave-running", "R", false, "let the container go on afterwards")
	flags.BoolVar(&o.TCPEstablished, "tcp-established", false, "save TCP connections that lead out of the container")
	flags.BoolVar(&o.TCPClose, "tcp-close", false, "give up TCP connections that lead out of the container: restored, they are reset")
	flags.IntVar(&pid, "pid", 0, "checkpoint the tree of a process of the host instead of a container")
	flags.BoolVar(&stats, "print-stats", false, "print the figures of the checkpoint as JSON (times in microseconds)")
	return c
}
