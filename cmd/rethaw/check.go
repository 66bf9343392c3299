package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/plugin"
)

// checkCommand is `rethaw check`.
func checkCommand(a *app) *cobra.Command {
	var pid int
	var asJSON bool
	var o checkpoint.Options
	c := &cobra.Command{
		Use:   "check [flags] CONTAINER | --pid PID",
		Short: "Tell what of a container could not be saved, without stopping it",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := plugin.CheckPrivilege(plugin.ToCheckpoint); err != nil {
				return err
			}
			target, err := a.target(cmd.Context(), args, pid)
			if err != nil {
				return err
			}
			o.Log, o.Tool = a.log, version()
			found, err := plugin.Check(cmd.Context(), target, o)
			if err != nil {
				return err
			}
			texts := make([]string, len(found))
			for i, f := range found {
				texts[i] = f.Error()
			}
			if asJSON {
				err = printJSON(a.stdout, map[string]any{"container": target.Candidate().ID, "refused": texts})
			} else if len(texts) > 0 {
				printf(a.stdout, texts...)
			}
			if err == nil && len(found) > 0 {
				code := exitUnsupported
				if all := errors.Join(found...); errors.Is(all, plugin.ErrPrivilege) && !errors.Is(all, checkpoint.ErrUnsupported) {
					code = exitEnvironment
				}
				err = codedError{code, fmt.Errorf("%s: %s could not be saved",
					target.Candidate(), counted(len(found), "object"))}
			}
			return err
		},
	}
	c.Flags().IntVar(&pid, "pid", 0, "check the tree of a process of the host instead of a container")
	c.Flags().BoolVar(&o.TCPEstablished, "tcp-established", false, "as for checkpoint")
	c.Flags().BoolVar(&o.TCPClose, "tcp-close", false, "as for checkpoint")
	c.Flags().BoolVar(&o.FileLocks, "file-locks", false, "as for checkpoint")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// counted says "1 task", "2 tasks".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
