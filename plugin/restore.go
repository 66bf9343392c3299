package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/restore"
	"github.com/rethaw/rethaw/specs"
)

// Request says what to restore where.
type Request struct {
	// Spec of the fresh container; its stdio is what the container gets. The ID is
	// "" for an image of a tree of host tasks, which needs no container.
	Spec Spec
	// Detach leaves the restored tasks to themselves: Session.Wait is not called.
	Detach bool
	// PidFile takes the host pid of the restored root, "" for none.
	PidFile string
	// Digest is the one that the image must have (image.Reader.Digest), "" for any.
	Digest string
	// Options go to package restore. Without an image there it is the one beside
	// the bundle (ImageDir).
	Options restore.Options
	// Watchdog starts a process that removes the container if we die before it is
	// restored, and returns its leash (watchdog.Launch of internal/watchdog); nil for
	// none.
	Watchdog func() (*watchdog.Leash, error)

	// ready, if not nil, is called when the engine has made all that belongs to the
	// container, and before anything runs in it.
	ready func() error
}

// startPatience is how long a runtime may take from its start to the container's
// process.
const startPatience = time.Minute

// Session is what a restore has brought to life.
type Session struct {
	// Result are the figures of the restore.
	Result *restore.Result

	container Container
	init      process
	stdio     *stdio
	// attached stays with the container in our stead, where an engine has its own
	// way to do so.
	attached attached
}

// attached is what stays with a container in the foreground.
type attached interface {
	// wait passes signals on until the container ends and returns its exit status.
	wait(signals <-chan os.Signal) (int, error)
}

// prefetchLimit is how much of an image is read ahead. What is not used before other
// pages need the memory has to be read twice.
const prefetchLimit = 4 << 30

// Restore restores an image: into a container that an engine makes, the one which the
// image comes from if it is in use, or without one if the request names none. On any
// failure nothing is left of the container.
func Restore(ctx context.Context, engines *Registry, r Request) (*Session, error) {
	if r.Options.Log == nil {
		r.Options.Log = silent()
	}
	var into restorable
	if r.Spec.ID != "" {
		var err error
		if into, err = engines.standing(ctx, r.Spec); err != nil {
			return nil, err
		}
	}
	if into == nil && r.Spec.Bundle == "" {
		r.Spec.Bundle = "."
	}
	if r.Options.Image == "" && r.Options.From == nil {
		dir := r.Spec.Bundle
		if into != nil {
			dir = into.Bundle()
		} else if _, err := LoadBundle(dir); err != nil {
			return nil, err
		}
		r.Options.Image = ImageDir(dir)
	}
	m := &making{dog: watchdog.Dog{Launch: r.Watchdog}}
	defer m.close()
	if r.Spec.ID != "" && into == nil {
		go m.dog.Ready() // if it fails, begin tells
	}
	img := r.Options.From
	if img == nil {
		var err error
		if img, err = image.Open(r.Options.Image); err != nil {
			return nil, err
		}
		defer img.Close()
		r.Options.From = img
	}
	if err := img.CheckDigest(ctx, r.Digest); err != nil {
		return nil, err
	}
	if err := CheckMachine(img.Header()); err != nil {
		return nil, err
	}
	// While the engine makes the container the disk has nothing else to do, nor have we.
	prefetched := make(chan struct{})
	go func() {
		defer close(prefetched)
		_ = restore.MakeRoom(img) // Run tells what is wrong
		img.Prefetch(prefetchLimit)
	}()
	defer func() { <-prefetched }()
	switch {
	case r.Spec.ID == "":
		return restoreTree(ctx, img, r)
	case into != nil:
		return into.restore(ctx, img, r)
	}
	return restoreContainer(ctx, engines.Engine(img.Header().Engine), img, r, m)
}

// restoreContainer checks what can be checked before, makes the container and
// restores into it.
func restoreContainer(ctx context.Context, e Engine, img *image.Reader, r Request, m *making) (*Session, error) {
	if u, no := e.(unable); no {
		return nil, u.cannot()
	}
	bundle, err := LoadBundle(r.Spec.Bundle)
	if err != nil {
		return nil, err
	}
	if err := CheckBundle(img.Header(), bundle); err != nil {
		return nil, err
	}
	if err := CheckRootfs(img, bundle); err != nil {
		return nil, err
	}
	held, err := lockName(e.Name(), r.Spec.ID)
	if err != nil {
		return nil, err
	}
	defer held.Unlock()
	s := new(Session)
	spec := r.Spec
	m.held, spec.making = held, m
	if s.stdio, err = prepareStdio(bundle.Terminal(), r.Detach, &spec); err != nil {
		return nil, err
	}
	if !r.Detach {
		if err := adopt(true); err != nil {
			s.stdio.close()
			return nil, err
		}
	}
	if spec.Clocks, err = restore.Clocks(img.Header()); err != nil {
		return nil, err
	}
	if err := s.create(ctx, e, spec, bundle, r); err != nil {
		s.stdio.close()
		return nil, err
	}
	return s, nil
}

// create makes the container, restores into it and writes the pid file.
func (s *Session) create(ctx context.Context, e Engine, spec Spec, b *Bundle, r Request) (err error) {
	begin := time.Now()
	fresh, err := e.Create(ctx, spec)
	if err != nil {
		return err
	}
	r.Options.Log.WithField("took", time.Since(begin)).Debugf("created %s", fresh.Candidate())
	s.container = fresh
	s.init = process{pid: fresh.Candidate().Pid}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
			defer cancel()
			if kill := fresh.Kill(ctx); kill != nil {
				err = errors.Join(err, kill)
				return // the watchdog will try
			}
		}
		err = errors.Join(err, spec.making.done())
	}()
	if err := s.stdio.attach(ctx); err != nil {
		return err
	}
	start := starting{fresh: fresh, ended: make(chan error, 1)}
	s.Result, err = restore.Run(ctx, restore.Container{
		Init:     s.init.pid,
		Start:    start.run,
		Patience: startPatience,
		Rootfs:   b.Rootfs,
		Bundle:   b.Dir,
		Terminal: b.Terminal(),
	}, r.Options)
	if err != nil {
		return err
	}
	if err := start.await(ctx, r.Options.Log); err != nil {
		return err
	}
	return writePid(r.PidFile, s.init.pid)
}

// restoreTree restores an image of a tree of host tasks.
func restoreTree(ctx context.Context, img *image.Reader, r Request) (*Session, error) {
	if h := img.Header(); !h.Host {
		return nil, fmt.Errorf("%w: the image is of the container %q: name the container to be made and its --bundle",
			ErrUnsupported, h.Container)
	}
	result, err := restore.Tree(ctx, r.Options)
	if err != nil {
		return nil, err
	}
	s := &Session{Result: result, init: process{pid: result.Root}, stdio: new(stdio)}
	if err := writePid(r.PidFile, result.Root); err != nil {
		return nil, errors.Join(err, s.init.kill())
	}
	return s, nil
}

// CheckMachine compares the machine of an image with this one.
func CheckMachine(h *specs.Header) error {
	machines := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}
	if here := machines[runtime.GOARCH]; h.Machine != "" && h.Machine != here {
		return fmt.Errorf("%w: the image is of a machine %s and this one is %s: restore it on a host of its kind",
			ErrUnsupported, h.Machine, here)
	}
	if size := os.Getpagesize(); h.PageSize != 0 && int(h.PageSize) != size {
		return fmt.Errorf("%w: the image has pages of %d bytes and this kernel of %d: restore it on a kernel with the same page size",
			ErrUnsupported, h.PageSize, size)
	}
	return nil
}

// adopt makes orphans among our descendants our children, as which the container's
// init gives us its exit status.
func adopt(on bool) error {
	var arg uintptr
	if on {
		arg = 1
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, arg, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming a child subreaper: %w", err)
	}
	return nil
}

// writePid writes a pid file in one step, so that who waits for it never reads half a
// number.
func writePid(path string, pid int) error {
	if path == "" {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("writing the pid file: %w", err)
	}
	_, err = f.WriteString(strconv.Itoa(pid))
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("writing the pid file: %w", err)
	}
	return nil
}

// silent returns a log that nobody reads.
func silent() *logrus.Entry {
	l := logrus.New()
	l.SetLevel(logrus.PanicLevel)
	return logrus.NewEntry(l)
}
