package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/internal/kernel"
)

// featuresCommand is `rethaw features`.
func featuresCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "features",
		Short: "Tell what this kernel offers and what Rethaw does with it",
		Long: "Try each kernel feature that Rethaw uses, by using it, and tell what follows from the answer.\n" +
			"A feature that cannot be tried (for lack of a privilege) is unknown.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			results := kernel.NewProber().All(cmd.Context())
			if asJSON {
				return printJSON(a.stdout, results)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "FEATURE\tHERE\tSINCE\tUSE")
			for _, r := range results {
				effect := r.Use
				if r.Answer != kernel.Yes {
					effect = "without it: " + r.Without
					if r.Err != nil {
						effect += " (" + r.Err.Error() + ")"
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Answer, r.Since, effect)
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
