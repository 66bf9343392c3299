//go:build man

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// extraCommands adds `rethaw man`. It is built on request alone (go run -tags man
// ./cmd/rethaw man DIR): the renderer costs every start of the program 0.7 ms, a
// twentieth of a whole checkpoint.
func extraCommands() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{manCommand}
}

// manCommand is `rethaw man`.
func manCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Hidden: true, // it has no page of its own
		Short:  "Write the man pages into a directory",
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("writing man pages: %w", err)
			}
			root := cmd.Root()
			// Without the date of generation the pages are the same for the same
			// program.
			root.DisableAutoGenTag = true
			header := &doc.GenManHeader{Title: "RETHAW", Section: "1", Source: "rethaw " + version(), Manual: "Rethaw"}
			if err := doc.GenManTree(root, header, args[0]); err != nil {
				return fmt.Errorf("writing man pages: %w", err)
			}
			return nil
		},
	}
}
