//go:build !man

package main

import "github.com/spf13/cobra"

// extraCommands are the verbs of special builds: see man.go.
func extraCommands() []func(*app) *cobra.Command { return nil }
