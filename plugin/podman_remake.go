package plugin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maker is an engine that can make the container of an export anew.
type maker interface {
	Engine
	// remake makes it as name, up to where it stands still.
	remake(ctx context.Context, o *Origin, i Import, name string) (ground, error)
}

// ground is a container, not running, whose filesystems can be changed.
type ground interface {
	// rootfs shows the root filesystem at a path of the host, until release.
	rootfs(ctx context.Context) (string, error)
	// volume is the directory of a volume by the name that it had.
	volume(name string) (string, error)
	release(ctx context.Context) error
	// remove removes what was made.
	remove(ctx context.Context) error
}

// remade is a container that podman has made of an export.
type remade struct {
	podmanCommands
	id string
	// volumes are the directories of those that were made for it, by the names that
	// they had; made are their names here.
	volumes map[string]string
	made    []string
	mounted bool
}

// remake implements maker.
func (p *Podman) remake(ctx context.Context, o *Origin, i Import, name string) (_ ground, err error) {
	if err := o.Podman.remakable(); err != nil {
		return nil, fmt.Errorf("%w: the container of the export %w", ErrUnsupported, err)
	}
	if !validID(name) {
		return nil, fmt.Errorf("%w: %q is no name for a container", ErrUnsupported, name)
	}
	how := &remaking{podmanConfig: o.Podman, name: name, volumes: map[string]string{}}
	renamed := name != o.called()
	how.noIP, how.noMAC = i.IgnoreStaticIP || renamed, i.IgnoreStaticMAC || renamed
	if how.image, err = p.findImage(ctx, o.Podman); err != nil {
		return nil, err
	}
	caps, err := p.output(ctx, "info", "--format", "{{.Host.Security.DefaultCapabilities}}")
	if err != nil {
		return nil, err
	}
	how.caps = strings.Split(caps, ",")
	r := &remade{podmanCommands: p.podmanCommands, volumes: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.remove(ctx))
		}
	}()
	if !i.IgnoreVolumes {
		for _, v := range o.Volumes {
			if how.volumes[v], err = r.makeVolume(ctx, v, renamed); err != nil {
				return nil, err
			}
		}
	}
	if r.id, err = p.output(ctx, how.args()...); err != nil {
		return nil, err
	}
	return r, nil
}

// findImage returns the name or the id under which the store has the image: the very
// same, or else one of the same name.
func (p podmanCommands) findImage(ctx context.Context, c *podmanConfig) (string, error) {
	if c.ImageName != "" && !strings.HasPrefix(c.ImageName, "-") {
		if id, err := p.output(ctx, "image", "inspect", "--format", "{{.Id}}", c.ImageName); err == nil && id == c.Image {
			return c.ImageName, nil
		}
	}
	if isHex(c.Image, 64) && p.run(ctx, "image", "exists", c.Image) == nil {
		return c.Image, nil
	}
	if c.ImageName != "" && !strings.HasPrefix(c.ImageName, "-") && p.run(ctx, "image", "exists", c.ImageName) == nil {
		return c.ImageName, nil
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%w: podman's store %s has no image %s (%.12s), of which the container was made: bring it there first (podman pull, podman load)",
		ErrNotFound, p.store.graph, c.ImageName, c.Image)
}

// isHex tells whether a text is a number of so many lower case hexadecimal digits.
func isHex(s string, digits int) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == digits && s == strings.ToLower(s)
}

// makeVolume makes a volume for contents of an export. Those without a name of their own get
// another one beside a copy.
func (r *remade) makeVolume(ctx context.Context, name string, renamed bool) (string, error) {
	if !validVolume(name) {
		return "", corrupt("the volume %.60q has no name for one", name)
	}
	here := name
	if renamed && isHex(name, 64) {
		b := make([]byte, 32)
		if _, err := rand.Read(b); err != nil {
			return "", err
		}
		here = hex.EncodeToString(b)
	}
	if r.run(ctx, "volume", "exists", here) == nil {
		return "", takenError(fmt.Sprintf("there is a volume %q already: remove it (podman volume rm), or use it as it is with --ignore-volumes", here))
	}
	if err := r.run(ctx, "volume", "create", here); err != nil {
		return "", err
	}
	r.made = append(r.made, here)
	dir, err := r.output(ctx, "volume", "inspect", "--format", "{{.Mountpoint}}", here)
	if err != nil {
		return "", err
	}
	r.volumes[name] = dir
	return here, nil
}

// rootfs implements ground.
func (r *remade) rootfs(ctx context.Context) (string, error) {
	r.mounted = true
	return r.output(ctx, "mount", r.id)
}

// volume implements ground.
func (r *remade) volume(name string) (string, error) {
	dir, ok := r.volumes[name]
	if !ok {
		return "", corrupt("the volume %.60q is not one that it tells of", name)
	}
	return dir, nil
}

// release implements ground.
func (r *remade) release(ctx context.Context) error {
	if !r.mounted {
		return nil
	}
	r.mounted = false
	return r.run(ctx, "umount", r.id)
}

// remove implements ground.
func (r *remade) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var err error
	if r.id != "" {
		err = errors.Join(r.release(ctx), r.run(ctx, "rm", "--force", "--ignore", "--time=0", "--volumes", r.id))
	}
	for _, v := range r.made {
		if r.run(ctx, "volume", "exists", v) == nil {
			err = errors.Join(err, r.run(ctx, "volume", "rm", v))
		}
	}
	return err
}

// rootfs implements ground for a container that stands still.
func (c *podmanContainer) rootfs(ctx context.Context) (string, error) {
	c.mounted = true
	return c.engine.output(ctx, "mount", c.entry.ID)
}

// volume implements ground: the volumes of a container that is there have their contents.
func (c *podmanContainer) volume(name string) (string, error) {
	return "", takenError(fmt.Sprintf("%s is there already, and so is its volume %q: use it as it is with --ignore-volumes, or make another container with --name", c.Candidate(), name))
}

// release implements ground.
func (c *podmanContainer) release(ctx context.Context) error {
	if !c.mounted {
		return nil
	}
	c.mounted = false
	return c.engine.run(ctx, "umount", c.entry.ID)
}

// remove implements ground: it was there before.
func (c *podmanContainer) remove(ctx context.Context) error {
	return c.release(context.WithoutCancel(ctx))
}
