package plugin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rethaw/rethaw/internal/layer"
)

// landing is where an import comes down: the bundle or the container into which the image
// is to be restored, with the changes that its filesystems get first.
type landing struct {
	ground ground
	stages []*layer.Stage
	// tops have the attributes of the top directories of volumes: podman gives them others
	// when it mounts a new volume for the first time.
	tops []layer.Top
	// wrote is a config.json that was made.
	wrote string
}

// land reads the prelude of a stream, if it has one, and prepares what it tells of; r gets the name of the
// container then, if it has none. Nothing but new containers, volumes and hidden directories
// is made: abandon takes all of it back.
func (i Import) land(ctx context.Context, engines *Registry, r *Request, from *bufio.Reader) (_ *landing, err error) {
	l := new(landing)
	a, err := openPrelude(from)
	if err != nil || a == nil {
		return l, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.abandon(ctx))
		}
	}()
	if r.Spec.ID == "" {
		r.Spec.ID = a.origin.called()
	}
	if err := l.choose(ctx, engines, r, i, a); err != nil {
		return nil, err
	}
	err = a.stage(func(prefix, volume string) (*layer.Stage, error) {
		if volume != "" && i.IgnoreVolumes || volume == "" && i.IgnoreRootfs {
			return nil, nil
		}
		if r.Digest != "" {
			if volume != "" {
				return nil, undigested("the contents of the volume "+volume, "leave them out with --ignore-volumes")
			}
			return nil, undigested("the changes of the root filesystem", "bring them there yourself and leave these out with --ignore-rootfs")
		}
		dir, err := l.place(ctx, r, volume)
		if err != nil {
			return nil, err
		}
		s, err := layer.NewStage(dir)
		if errors.Is(err, layer.ErrBusy) {
			err = fmt.Errorf("%w: %w", ErrBusy, err)
		}
		if err == nil {
			l.stages = append(l.stages, s)
		}
		return s, err
	})
	return l, err
}

// choose finds the container or the bundle.
func (l *landing) choose(ctx context.Context, engines *Registry, r *Request, i Import, a *arrival) error {
	m := engines.maker(r.Spec, &a.origin)
	into, err := engines.standing(ctx, r.Spec)
	if err != nil && !(m != nil && errors.Is(err, ErrNotFound)) {
		return err
	}
	if err == nil && into != nil && m != nil && !slices.Contains([]string{into.Candidate().Name, into.Candidate().ID}, r.Spec.ID) {
		// The beginning of another one's id makes no difference to a new name.
		into = nil
	}
	if err == nil && into != nil {
		status, err := into.Status(ctx)
		if err != nil {
			return err
		}
		if status != Stopped && status != Created {
			return &StateError{Candidate: into.Candidate(), Status: status, Remedy: "choose another name (--name), or stop it first"}
		}
		if g, ok := into.(ground); ok {
			l.ground = g
		}
		return nil
	}
	if m != nil {
		if r.Digest != "" {
			return undigested("the container's configuration", "make the container yourself (podman create)")
		}
		l.ground, err = m.remake(ctx, &a.origin, i, r.Spec.ID)
		return err
	}
	if r.Spec.Bundle == "" {
		r.Spec.Bundle = "."
	}
	return l.completeBundle(r, a)
}

// maker returns the engine that makes the container of an export anew, nil if it goes into a bundle, which is
// chosen as by standing.
func (r *Registry) maker(s Spec, o *Origin) maker {
	if o.Podman == nil || s.Bundle != "" {
		return nil
	}
	if _, err := os.Stat("config.json"); err == nil && len(r.engines) > 1 {
		return nil
	}
	for _, e := range r.engines {
		if m, ok := e.(maker); ok {
			return m
		}
	}
	return nil
}

// completeBundle gives a bundle that has no configuration the one of the export.
func (l *landing) completeBundle(r *Request, a *arrival) error {
	dir := r.Spec.Bundle
	path := filepath.Join(dir, "config.json")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if a.config == nil {
		return nil
	}
	if info, err := os.Stat(filepath.Join(dir, "rootfs")); err != nil || !info.IsDir() {
		return &BundleError{Bundle: dir, Reason: "there is neither a config.json nor a directory rootfs: name the directory of the bundle with --bundle"}
	}
	if r.Digest != "" {
		return undigested("config.json", "put one into the bundle yourself")
	}
	config, err := adopted(a.config)
	if err != nil {
		return &BundleError{Bundle: dir, Reason: "the export's config.json", Err: err}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	l.wrote = path
	_, err = f.Write(config)
	return errors.Join(err, f.Close())
}

// undigested refuses what somebody else than the maker of the image may have put in front of it, where the
// user relies on the digest.
func undigested(what, remedy string) error {
	return fmt.Errorf("%w: the digest stands for the image alone, and not for %s in front of it: %s", ErrUnsupported, what, remedy)
}

// adopted is the configuration of an export for a bundle here, with the root filesystem in
// the directory rootfs. One with hooks is refused: these are programs of the host.
func adopted(config []byte) ([]byte, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(config, &all); err != nil {
		return nil, err
	}
	if h := all["hooks"]; len(h) > 0 && !slices.Contains([]string{"null", "{}"}, strings.TrimSpace(string(h))) {
		return nil, errors.New("it has hooks, which would run programs of this host: put a config.json into the bundle yourself")
	}
	root := map[string]json.RawMessage{}
	if len(all["root"]) > 0 {
		if err := json.Unmarshal(all["root"], &root); err != nil {
			return nil, err
		}
	}
	root["path"] = json.RawMessage(`"rootfs"`)
	var err error
	if all["root"], err = json.Marshal(root); err != nil {
		return nil, err
	}
	return json.MarshalIndent(all, "", "  ")
}

// place is the top of the filesystem that gets changes.
func (l *landing) place(ctx context.Context, r *Request, volume string) (string, error) {
	switch {
	case l.ground != nil && volume != "":
		return l.ground.volume(volume)
	case l.ground != nil:
		return l.ground.rootfs(ctx)
	case volume != "":
		return "", &BundleError{Bundle: r.Spec.Bundle,
			Reason: fmt.Sprintf("the export has the contents of the volume %q, for which a bundle has no place: leave them out with --ignore-volumes", volume)}
	}
	b, err := LoadBundle(r.Spec.Bundle)
	if err != nil {
		return "", err
	}
	return b.Rootfs, nil
}

// apply brings the changes to their places. Those of an engine's container stay there: a new
// container goes with all that it has if the restore fails.
func (l *landing) apply(ctx context.Context) error {
	for _, s := range l.stages {
		if err := s.Apply(); err != nil {
			return explainPrelude(err)
		}
		l.tops = append(l.tops, s.Top())
	}
	if l.ground == nil {
		var err error
		for _, s := range l.stages {
			err = errors.Join(err, s.Settle())
		}
		return err
	}
	if err := l.commit(); err != nil {
		return err
	}
	return l.ground.release(ctx)
}

// ready sets the attributes of the top directories once more.
func (l *landing) ready() error {
	for _, top := range l.tops {
		if err := top.Set(); err != nil {
			return err
		}
	}
	return nil
}

// commit lets the changes stay.
func (l *landing) commit() error {
	var err error
	for _, s := range l.stages {
		err = errors.Join(err, s.Commit())
	}
	l.stages = nil
	return err
}

// abandon takes all back.
func (l *landing) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var err error
	for _, s := range slices.Backward(l.stages) {
		err = errors.Join(err, s.Undo())
	}
	l.stages = nil
	if l.wrote != "" {
		err = errors.Join(err, os.Remove(l.wrote))
	}
	if l.ground != nil {
		err = errors.Join(err, l.ground.remove(ctx))
	}
	return err
}
