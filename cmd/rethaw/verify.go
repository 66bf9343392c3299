package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rethaw/rethaw/image"
)

// verifyCommand is `rethaw verify`.
func verifyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify IMAGE",
		Short: "Read a whole image and check every sum in it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := image.Open(args[0])
			if err != nil {
				return err
			}
			defer img.Close()
			var bytes int64
			show := a.progress("verifying")
			err = img.Verify(cmd.Context(), func(done, total int64) {
				bytes = total
				show(done, total)
			})
			if err != nil {
				return err
			}
			printf(a.stdout, fmt.Sprintf("%s: good (%s read)", args[0], humanize.IBytes(uint64(bytes))))
			return nil
		},
	}
}

// progress returns a function that shows progress in bytes on a terminal and does
// nothing elsewhere.
func (a *app) progress(what string) func(done, total int64) {
	if !term.IsTerminal(int(a.stderr.Fd())) {
		return func(int64, int64) {}
	}
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
		if bar == nil {
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(a.stderr),
				progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(true),
				progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(done)
	}
}
