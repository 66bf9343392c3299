package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/hook"
	"github.com/rethaw/rethaw/plugin"
)

// statusCommand is `rethaw status`.
func statusCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status [flags] [CONTAINER]",
		Short: "Show what the hook does for a container",
		Long: "Show what the hook is at for a container with annotations, or for all: whether it is restored, which images were taken,\n" +
			"and what failed and why. The container is named by its id, the beginning of it, or its name.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			found, err := hook.Status(name)
			if errors.Is(err, plugin.ErrNotFound) && name != "" {
				// A name that only its engine knows.
				if c, err2 := a.target(cmd.Context(), args, 0); err2 == nil {
					found, err = hook.Status(c.Candidate().ID)
				}
			}
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(a.stdout, found)
			}
			for _, r := range found {
				printStatus(a.stdout, r)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// printStatus prints one record for people.
func printStatus(w io.Writer, r hook.Record) {
	lines := []string{
		"container  " + r.ID,
		"bundle     " + r.Bundle,
		fmt.Sprintf("state      %s since %s", r.State, r.Since.Format(time.DateTime)),
	}
	if r.Image != "" {
		lines = append(lines, "restore    "+r.Image)
	}
	if r.Error != "" {
		lines = append(lines, "error      "+r.Error)
	}
	for _, i := range r.Images {
		line := fmt.Sprintf("image      %s  %s (%s)", i.At.Format(time.DateTime), i.Image, i.Trigger)
		if i.Error != "" {
			line += ": " + i.Error
		}
		lines = append(lines, line)
	}
	if r.Log != "" {
		lines = append(lines, "log        "+r.Log)
	}
	printf(w, lines...)
}
