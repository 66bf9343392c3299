package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/checkpoint"
)

// writeFiles writes files below a directory.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestShims lays out what containerd and docker leave on the disk and finds it.
func TestShims(t *testing.T) {
	dir := t.TempDir()
	tasks, runtimes := "state/io.containerd.runtime.v2.task/", filepath.Join(dir, "runtimes")
	state := func(id string, pid int) string {
		return fmt.Sprintf(`{"id":%q,"init_process_pid":%d,"config":{"labels":["bundle=%s/%smoby/%s"]}}`, id, pid, dir, tasks, id)
	}
	writeFiles(t, dir, map[string]string{
		tasks + "default/web/config.json":                 "{}",
		tasks + "default/web/options.json":                `{"root":"` + runtimes + `"}`,
		tasks + "default/ended/config.json":               "{}",
		tasks + "k8s.io/" + idOne + "/config.json":        "{}",
		tasks + "moby/" + idTwo + "/config.json":          "{}",
		tasks + "moby/" + idTwo + "/options.json":         `{"root":"` + runtimes + `"}`,
		"runtimes/default/web/state.json":                 state("web", os.Getpid()),
		"runtimes/moby/" + idTwo + "/state.json":          state(idTwo, os.Getpid()),
		"docker/containers/" + idTwo + "/config.v2.json":  `{"ID":"` + idTwo + `","Name":"/shop","Created":"2026-11-23T16:39:38.6Z"}`,
		"docker/containers/" + idOne + "/config.v2.json":  `{"ID":"` + idOne + `","Name":"/old"}`,
		"docker/containers/" + idTwo + "/hostconfig.json": `{}`,
	})
	containerd := NewContainerd(filepath.Join(dir, "state"))
	docker := NewDocker(filepath.Join(dir, "docker"))
	docker.states = containerd.states
	tests := []struct {
		engine Engine
		name   string
		want   Status // "" for none
	}{
		{containerd, "web", Running},
		{containerd, "ended", Stopped},
		{containerd, idOne[:12], Stopped},
		{containerd, "we", ""},
		{containerd, idTwo, ""}, // docker's
		{docker, "shop", Running},
		{docker, idTwo[:12], Running},
		{docker, "old", Stopped},
		{docker, "web", ""},
	}
	for _, tt := range tests {
		t.Run(tt.engine.Name()+" "+tt.name, func(t *testing.T) {
			found, err := tt.engine.Find(context.Background(), tt.name)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 {
				if tt.want != "" {
					t.Error("not found")
				}
				return
			}
			status, err := found[0].Status(context.Background())
			if err != nil || status != tt.want || len(found) > 1 {
				t.Errorf("got %v, %v, %v", found, status, err)
			}
			if err := endable(found[0], "/image"); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "--leave-running") {
				t.Errorf("it could be ended: %v", err)
			}
			if _, err := imageFor(found[0], checkpoint.Target{Bundle: "/b"}, ""); !errors.Is(err, ErrUnsupported) {
				t.Errorf("an image in a bundle that goes: %v", err)
			}
		})
	}
	all, err := (&Registry{engines: []Engine{NewRunc("runc", filepath.Join(runtimes, "default")), containerd, docker}}).List(context.Background())
	if err != nil || len(all) != 5 {
		t.Errorf("the runtime's container must not count twice: %v, %v", all, err)
	}
}

func FuzzParseDockerConfig(f *testing.F) {
	f.Add([]byte(`{"ID":"` + idTwo + `","Name":"/shop","Created":"2026-11-23T16:39:38.6Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := parseDockerConfig(data); err == nil && !validID(c.ID) {
			t.Errorf("id %q", c.ID)
		}
	})
}

func TestManagerOf(t *testing.T) {
	tests := []struct{ bundle, annotation, want string }{
		{"/b", "", ""},
		{"/var/lib/containers/storage/overlay-containers/x/userdata", "libpod", "podman"},
		{"/run/containers/storage/overlay-containers/x/userdata", "cri-o", "cri-o"},
		{"/run/containerd/io.containerd.runtime.v2.task/k8s.io/x", "", "containerd"},
		{"/run/containerd/io.containerd.runtime.v2.task/moby/x", "", "docker"},
	}
	for _, tt := range tests {
		if got := managerOf(tt.bundle, func(string) string { return tt.annotation }); got != tt.want {
			t.Errorf("%v: got %q", tt, got)
		}
	}
}
