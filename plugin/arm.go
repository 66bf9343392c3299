package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/sealed"
	"github.com/rethaw/rethaw/restore"
)

// Arming is a restore into a container that its runtime is making by itself: the
// runtime, and not we, will start it, in a moment or in a week.
type Arming struct {
	// ID is the container's, Bundle its directory, Init the host pid of the
	// runtime's init, which waits to execute the container's process.
	ID, Bundle string
	Init       int
	// Armed is called once, when Init is under control and all is checked that can be
	// before the start.
	Armed func() error
	// With are the identities that decrypt the image, none if it is plain; Digest is the one
	// that it must have, "" for any.
	With   []sealed.Identity
	Digest string
	// Options go to package restore.
	Options restore.Options
}

// Arm checks that the image fits the container and restores it when the runtime
// starts it. Its return is the end of the restore. If it fails, the container is
// dead: before Armed was called only if Init was touched already.
func Arm(ctx context.Context, a Arming) (*restore.Result, error) {
	if a.Options.Log == nil {
		a.Options.Log = silent()
	}
	plain, done, err := Unsealed(ctx, a.Options.Image, a.With, a.Options.Log)
	if err != nil {
		return nil, err
	}
	defer done()
	a.Options.Image = plain
	bundle, err := armable(ctx, a)
	if err != nil {
		return nil, err
	}
	_, start, err := processStat(a.Init)
	if err != nil {
		return nil, fmt.Errorf("the runtime's init of container %q: %w", a.ID, err)
	}
	held, err := lockContainer(Candidate{Engine: "container", ID: a.ID}, process{pid: a.Init, start: start})
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	return restore.Run(ctx, restore.Container{
		Init:     a.Init,
		Start:    func(context.Context) error { return a.Armed() },
		Rootfs:   bundle.Rootfs,
		Bundle:   bundle.Dir,
		Terminal: bundle.Terminal(),
	}, a.Options)
}

// armable compares the image with the machine and the bundle.
func armable(ctx context.Context, a Arming) (*Bundle, error) {
	img, err := image.Open(a.Options.Image)
	if err != nil {
		return nil, err
	}
	defer img.Close()
	if err := img.CheckDigest(ctx, a.Digest); err != nil {
		return nil, err
	}
	if err := CheckMachine(img.Header()); err != nil {
		return nil, err
	}
	bundle, err := LoadBundle(a.Bundle)
	if err != nil {
		return nil, err
	}
	if err := CheckBundle(img.Header(), bundle); err != nil {
		return nil, err
	}
	return bundle, CheckRootfs(img, bundle)
}

// Restoring tells whether a rethaw is making a container with this id right now, for an
// image of its own choice.
func Restoring(id string) (bool, error) {
	dir, err := lockDir()
	if err != nil {
		return false, err
	}
	for _, m := range makers() {
		f, err := os.OpenFile(filepath.Join(dir, nameLock(m.name, id)), os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return true, nil
		}
	}
	return false, nil
}

// Capture is CheckpointTo for who does not own the container: one whose tasks are killed
// stays with its engine as a stopped one. Without an export it goes to o.Image alone.
func Capture(ctx context.Context, c Container, o checkpoint.Options, e Export) (*checkpoint.Stats, error) {
	if e.None() {
		return captureAs(ctx, c, o, "")
	}
	return exportAs(ctx, c, o, e, captureAs)
}

func captureAs(ctx context.Context, c Container, o checkpoint.Options, _ string) (*checkpoint.Stats, error) {
	held, t, err := resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	return checkpoint.Run(ctx, t, o, nil)
}
