package layer

import (
	"context"
	"fmt"

	"github.com/rethaw/rethaw/internal/pax"
)

// Whole is all of a directory, as of a volume.
type Whole struct{ Dir string }

// Save implements Changes.
func (c Whole) Save(ctx context.Context, w *pax.Writer, prefix string) error {
	dir, err := openDir(c.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	s, err := stat(dir, "")
	if err == nil {
		err = newWalk(ctx, w).tree(dir, prefix, s, true)
	}
	if err != nil {
		return fmt.Errorf("files of %s: %w", c.Dir, err)
	}
	return nil
}

// Check implements Changes.
func (c Whole) Check(ctx context.Context) error { return c.Save(ctx, nil, "files") }
