package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
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

// progress returns a function that shows the progress of a reading on a terminal and
// does nothing elsewhere. It is a line of our own: libraries for it bring an HTTP
// client along, which costs every start of the program half a millisecond.
func (a *app) progress(what string) func(done, total int64) {
	if !term.IsTerminal(int(a.stderr.Fd())) {
		return func(int64, int64) {}
	}
	shown := int64(-1)
	return func(done, total int64) {
		percent := done * 100 / max(total, 1)
		switch {
		case percent == shown:
		case done == total:
			fmt.Fprint(a.stderr, "\r\x1b[K")
		default:
			fmt.Fprintf(a.stderr, "\r%s: %d%% of %s", what, percent, humanize.IBytes(uint64(total)))
		}
		shown = percent
	}
}
