package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/plugin"
)

// checkpointCommand is `rethaw checkpoint`.
func checkpointCommand(a *app) *cobra.Command {
	var o checkpoint.Options
	var which selection
	var stats bool
	var to plugin.Export
	var compress string
	var recipients []string
	c := &cobra.Command{
		Use:   "checkpoint [flags] CONTAINER... | --all | --latest | --pid PID --image DIR",
		Short: "Save running containers into images",
		Long: "Save a running container (or, with --pid, a process and all its descendants) into an image.\n" +
			"Then the tasks are killed and the container is removed, unless --leave-running is given; one of\n" +
			"podman stays as an exited one.\n" +
			"Whatever fails, the container goes on as if nothing had happened.",
		Example: "  rethaw checkpoint web\n  rethaw checkpoint -R --image /srv/web.image web\n  rethaw checkpoint --runtime podman --all\n  rethaw checkpoint --pid 1234 --image /tmp/job\n" +
			"  rethaw checkpoint -e /srv/web.tar.zst web\n  rethaw checkpoint -e - web | ssh host rethaw restore -d -b /srv/web -i - web",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plugin.CheckPrivilege(plugin.ToCheckpoint); err != nil {
				return err
			}
			targets, err := a.running(cmd.Context(), args, which)
			if err != nil {
				return err
			}
			if len(targets) > 1 && (o.Image != "" || to.File != "") {
				return usageError{"--image and --export are for one container: images of several go beside their bundles"}
			}
			if err := exportOnly(cmd, "ignore-rootfs", "ignore-volumes", "base"); err != nil {
				return err
			}
			if to.Codec, err = codec(cmd, compress); err != nil {
				return err
			}
			if to.To, err = sealed.Recipients(recipients); err != nil {
				return err
			}
			to.Stdout, to.Keep = a.stdout, which.keep
			figures := a.stdout
			if to.File == plugin.Standard {
				figures = a.stderr
			}
			o.Tool, o.Watchdog = version(), watchdog.Launch
			return a.each(cmd.Context(), targets, func(c plugin.Container) error {
				result, err := a.checkpoint(cmd.Context(), c, o, to)
				if err == nil && stats {
					err = printJSON(figures, result)
				}
				return err
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Image, "image", "", "directory of the image (default: checkpoint in the bundle)")
	flags.StringVarP(&to.File, "export", "e", "", "carry the image into this file as one stream, - for stdout; it is left nowhere else without --image or --keep")
	flags.StringVarP(&compress, "compress", "c", string(image.Zstd), "compression of the --export: zstd, gzip or none")
	flags.StringArrayVar(&recipients, "encrypt-to", nil, "encrypt what is written to this recipient: an age or SSH public key, or a file of such (may be repeated)")
	flags.BoolVar(&to.IgnoreRootfs, "ignore-rootfs", false, "leave the changes of the root filesystem out of the --export")
	flags.BoolVar(&to.IgnoreVolumes, "ignore-volumes", false, "leave the contents of podman's volumes out of the --export")
	flags.StringVar(&to.Base, "base", "", "what the root filesystem was a copy of: with it an --export has the changes of one that is no overlay")
	flags.BoolVarP(&o.LeaveRunning, "leave-running", "R", false, "let the container go on afterwards")
	flags.BoolVar(&o.TCPEstablished, "tcp-established", false, "save TCP connections that lead out of the container")
	flags.BoolVar(&o.TCPClose, "tcp-close", false, "give up TCP connections that lead out of the container: restored, they are reset")
	flags.BoolVar(&o.FileLocks, "file-locks", false, "save locks on files and leases, which the restored tasks hold again")
	which.flags(flags, "running containers")
	flags.IntVar(&which.pid, "pid", 0, "checkpoint the tree of a process of the host instead of a container")
	flags.BoolVar(&stats, "print-stats", false, "print the figures of the checkpoint as JSON (times in microseconds)")
	return c
}

// exportOnly refuses options that mean something for an export alone.
func exportOnly(c *cobra.Command, names ...string) error {
	for _, name := range names {
		if c.Flags().Changed(name) && !c.Flags().Changed("export") {
			return usageError{"--" + name + " is for an --export: an image has neither root filesystem nor volumes"}
		}
	}
	return nil
}

// codec is the compression of an export.
func codec(c *cobra.Command, name string) (image.Codec, error) {
	if f := c.Flags().Lookup("export"); f.Changed && f.Value.String() == "" {
		return "", usageError{"--export names no file: give one, or - for stdout"}
	}
	if c.Flags().Changed("compress") && !c.Flags().Changed("export") {
		return "", usageError{"--compress is for an --export: images themselves are not compressed"}
	}
	chosen, err := image.ParseCodec(name)
	if err != nil {
		return "", usage(c, err)
	}
	return chosen, nil
}

// checkpoint takes the checkpoint of one container.
func (a *app) checkpoint(ctx context.Context, c plugin.Container, o checkpoint.Options, to plugin.Export) (*checkpoint.Stats, error) {
	log, done, err := a.keepLog(to.Keep, func() (string, error) { return plugin.ImageOf(ctx, c, o.Image) })
	if err != nil {
		return nil, err
	}
	defer done()
	o.Log = log
	if to.None() {
		return plugin.Checkpoint(ctx, c, o)
	}
	return plugin.CheckpointTo(ctx, c, o, to)
}
