package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// verifyCommand is `rethaw verify`.
func verifyCommand(a *app) *cobra.Command {
	var identities []string
	var digest bool
	c := &cobra.Command{
		Use:   "verify [flags] IMAGE",
		Short: "Read a whole image and check every sum in it",
		Long: "Read a whole image, a directory or the file of an export, and check every sum in it.\n" +
			"With --digest its digest is printed and nothing else: one line that stands for the whole image, in\n" +
			"whatever form it is kept, to be signed with any tool and given to restore --digest.",
		Example: "  rethaw verify /srv/web.image\n  rethaw verify --identity key.txt /srv/web.age\n" +
			"  rethaw verify --digest /srv/web.image > web.digest && ssh-keygen -Y sign -n rethaw -f key web.digest",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, done, err := a.openImage(cmd.Context(), args[0], identities)
			if err != nil {
				return err
			}
			defer done()
			var bytes int64
			show := a.progress("verifying")
			err = img.Verify(cmd.Context(), func(done, total int64) {
				bytes = total
				show(done, total)
			})
			if err != nil {
				return err
			}
			if digest {
				d, err := img.Digest(cmd.Context(), a.progress("reading"))
				if err != nil {
					return err
				}
				printf(a.stdout, d)
				return nil
			}
			printf(a.stdout, fmt.Sprintf("%s: good (%s read)", args[0], humanize.IBytes(uint64(bytes))))
			return nil
		},
	}
	c.Flags().BoolVar(&digest, "digest", false, "print the digest of the whole image")
	identityFlag(c.Flags(), &identities)
	return c
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
