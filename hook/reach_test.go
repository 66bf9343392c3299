package hook

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

func TestOutOfReach(t *testing.T) {
	bundle := t.TempDir()
	for _, dir := range []string{"rootfs", "shared", "shown", "images"} {
		if err := os.Mkdir(filepath.Join(bundle, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(bundle, name) }
	if err := os.Symlink("shared", at("link")); err != nil {
		t.Fatal(err)
	}
	c := &config{Mounts: []runtimespec.Mount{
		{Destination: "/s", Type: "bind", Source: at("shared"), Options: []string{"rbind", "rw"}},
		{Destination: "/r", Source: "shown", Options: []string{"bind", "ro"}},
		{Destination: "/t", Type: "tmpfs", Source: "tmpfs"},
	}}
	for _, tt := range []struct {
		wishes Wishes
		good   bool
	}{
		{Wishes{Restore: "checkpoint"}, true},
		{Wishes{Restore: "rootfs/evil"}, false},
		{Wishes{Restore: at("shared/evil")}, false},
		{Wishes{Restore: at("link/not/there")}, false},
		{Wishes{Restore: at("shown/image")}, true},
		{Wishes{Restore: at("rootfs2")}, true},
		{Wishes{Restore: "checkpoint", Identity: at("shared/key")}, false},
		{Wishes{After: 1}, true},
		{Wishes{After: 1, Image: at("rootfs/x")}, false},
		{Wishes{After: 1, Image: at("images/{id}-{time}")}, true},
		{Wishes{Every: 1, Image: at("shared/{id}/{time}")}, false},
		{Wishes{OnRequest: true}, true},
		{Wishes{After: 1, EncryptTo: []string{"age1x", at("images/keys")}}, true},
		{Wishes{After: 1, EncryptTo: []string{"age1x", at("link/keys")}}, false},
	} {
		p := &plan{ID: "c", Bundle: bundle, Rootfs: at("rootfs"), Wishes: &tt.wishes}
		if err := c.outOfReach(p); (err == nil) != tt.good || err != nil && !errors.Is(err, ErrAnnotation) {
			t.Errorf("%+v: %v", tt.wishes, err)
		}
	}
}
