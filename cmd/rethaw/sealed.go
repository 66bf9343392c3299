package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/plugin"
)

// identityFlag adds --identity.
func identityFlag(flags *pflag.FlagSet, to *[]string) {
	flags.StringArrayVar(to, "identity", nil, "file with the private key, of age or SSH, that decrypts the image; a plain one is refused then (may be repeated)")
}

// digestFlag reads --digest. An empty one does not count as none: it may come from a
// script that has found no digest.
func digestFlag(c *cobra.Command) (string, error) {
	f := c.Flags().Lookup("digest")
	if !f.Changed {
		return "", nil
	}
	d, err := image.ParseDigest(f.Value.String())
	if err != nil {
		return "", usage(c, err)
	}
	return d, nil
}

// openImage opens an image directory, an encrypted one, or the file of an export. done
// closes it and removes what was unpacked.
func (a *app) openImage(ctx context.Context, path string, identities []string) (img *image.Reader, done func(), err error) {
	with, err := sealed.Identities(identities)
	if err != nil {
		return nil, nil, err
	}
	plain, remove, err := plugin.Unsealed(ctx, filepath.Clean(path), with, a.log)
	if err != nil {
		return nil, nil, err
	}
	img, err = image.Open(plain)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return img, func() { img.Close(); remove() }, nil
}
