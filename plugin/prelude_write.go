package plugin

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/checkpoint"
	"github.com/rethaw/rethaw/internal/layer"
	"github.com/rethaw/rethaw/internal/pax"
)

// prelude is what an export has before the image.
type prelude struct {
	origin Origin
	config []byte
	trees  []preludeTree
}

// preludeTree is one filesystem whose changes are in it.
type preludeTree struct {
	prefix  string
	changes layer.Changes
}

// exporter is a container whose engine knows more of it than its target tells.
type exporter interface {
	// describe adds that to an origin, and returns the volumes: name and directory.
	describe(ctx context.Context, o *Origin) (volumes map[string]string, err error)
}

// prepare finds what the export of a container has to tell, and refuses what it cannot carry:
// nothing is stopped yet.
func (e Export) prepare(ctx context.Context, c Container, say func(string)) (*prelude, error) {
	t, err := c.Target(ctx)
	if err != nil {
		return nil, err
	}
	if t.Host {
		return nil, nil
	}
	who := c.Candidate()
	p := &prelude{origin: Origin{Version: preludeVersion, Engine: who.Engine, ID: who.ID, Name: who.Name, Rootfs: RootfsNone}}
	if p.config, err = os.ReadFile(filepath.Join(t.Bundle, "config.json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the configuration of %s: %w", who, err)
	}
	volumes := map[string]string{}
	if x, ok := c.(exporter); ok {
		if volumes, err = x.describe(ctx, &p.origin); err != nil {
			return nil, err
		}
	}
	if !e.IgnoreRootfs {
		if err := p.addRootfs(t, e.Base, say); err != nil {
			return nil, fmt.Errorf("%s: %w", who, err)
		}
	}
	if !e.IgnoreVolumes {
		p.addVolumes(volumes)
	}
	for _, tree := range p.trees {
		if err := tree.changes.Check(ctx); err != nil {
			if errors.Is(err, layer.ErrUnsupported) {
				err = fmt.Errorf("%w: %w", ErrUnsupported, err)
			}
			return nil, fmt.Errorf("%s: %w", who, err)
		}
	}
	return p, nil
}

// addRootfs finds the changes of the root filesystem.
func (p *prelude) addRootfs(t checkpoint.Target, base string, say func(string)) error {
	rootfs := hostPath(t)
	if base != "" {
		p.origin.Rootfs = RootfsDiff
		p.trees = append(p.trees, preludeTree{preludeRootfs, &layer.Diff{Dir: rootfs, Base: base}})
		return nil
	}
	info, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", t.Init))
	if err != nil {
		return err
	}
	defer info.Close()
	overlay, err := layer.FindOverlay(info)
	switch {
	case err != nil:
		return err
	case overlay == nil:
		say("the root filesystem is a plain directory and no --base was given: the export has none of its changes, and restores only where they are there already")
		return nil
	}
	p.origin.Rootfs = RootfsOverlay
	if overlay.Upper != "" {
		p.trees = append(p.trees, preludeTree{preludeRootfs, layer.Upper{Dir: overlay.Upper, Merged: rootfs}})
	}
	return nil
}

// hostPath is a path by which we see the root filesystem: that of the host, without what
// the container has mounted in it, or that of the container if it is in another mount namespace
// than we are.
func hostPath(t checkpoint.Target) string {
	inside := fmt.Sprintf("/proc/%d/root/", t.Init)
	var a, b unix.Stat_t
	if unix.Stat(t.Rootfs, &a) == nil && unix.Stat(inside, &b) == nil && a.Dev == b.Dev && a.Ino == b.Ino {
		return t.Rootfs
	}
	return inside
}

// addVolumes adds all of them, in the order of their names.
func (p *prelude) addVolumes(volumes map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(volumes)) {
		p.origin.Volumes = append(p.origin.Volumes, name)
		p.trees = append(p.trees, preludeTree{preludeVolumes + name, layer.Whole{Dir: volumes[name]}})
	}
}

// write writes the prelude. The container stands still.
func (p *prelude) write(ctx context.Context, to io.Writer) error {
	hash := xxh3.New128()
	buffered := bufio.NewWriterSize(io.MultiWriter(to, hash), 256<<10)
	w := pax.NewWriter(buffered)
	origin, err := encode(p.origin)
	if err != nil {
		return err
	}
	for _, d := range []struct {
		name string
		text []byte
	}{{preludeOrigin, origin}, {preludeConfig, p.config}} {
		if d.text == nil {
			continue
		}
		if err := writeDocument(w, d.name, d.text); err != nil {
			return err
		}
	}
	for _, tree := range p.trees {
		if err := tree.changes.Save(ctx, w, tree.prefix); err != nil {
			return err
		}
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	sum := hash.Sum128().Bytes()
	end, err := encode(preludeSum{Entries: w.Entries(), XXH3: hex.EncodeToString(sum[:])})
	if err != nil {
		return err
	}
	if err := writeDocument(w, preludeEnd, end); err != nil {
		return err
	}
	return buffered.Flush()
}

func writeDocument(w *pax.Writer, name string, text []byte) error {
	if err := w.Header(document(name, len(text))); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}
