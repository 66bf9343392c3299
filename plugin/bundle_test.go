package plugin

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runtimespec "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rethaw/rethaw/specs"
)

func TestLoadBundle(t *testing.T) {
	tests := []struct {
		name, config, text string
	}{
		{"no config", "", "no config.json"},
		{"no JSON", "{", "not a container configuration"},
		{"no root", `{"process":{}}`, "root.path"},
		{"no process", `{"root":{"path":"."}}`, "process"},
		{"no rootfs", `{"process":{},"root":{"path":"nowhere"}}`, "root filesystem"},
		{"a file for a rootfs", `{"process":{},"root":{"path":"config.json"}}`, "not a directory"},
		{"good", `{"process":{"terminal":true},"root":{"path":"."}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.config != "" {
				if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(tt.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			b, err := LoadBundle(dir)
			if tt.text == "" {
				if err != nil || b.Rootfs != dir || !b.Terminal() {
					t.Errorf("got %+v, %v", b, err)
				}
				return
			}
			if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestCheckBundle(t *testing.T) {
	b := &Bundle{Dir: "/b", Config: &Config{
		Mounts: []runtimespec.Mount{{Destination: "/data/"}, {Destination: "/proc"}},
	}}
	tests := []struct {
		name   string
		header specs.Header
		text   string
	}{
		{"nothing needed", specs.Header{}, ""},
		{"there", specs.Header{Mounts: []specs.Mount{{Point: "/", FSType: "ext4"}, {Point: "/data", FSType: "ext4"}}}, ""},
		{"the runtime's own", specs.Header{Mounts: []specs.Mount{{Point: "/proc/kcore", FSType: "devtmpfs"}, {Point: "/sys/fs/cgroup/cpu", FSType: "cgroup"}}}, ""},
		{"tmpfs", specs.Header{Mounts: []specs.Mount{{Point: "/scratch", FSType: "tmpfs"}}}, ""},
		{"missing", specs.Header{Mounts: []specs.Mount{{Point: "/logs", FSType: "ext4", Source: "/dev/sda1"}}}, "/logs"},
		{"terminal", specs.Header{Terminal: true}, "process.terminal"},
		{"host tree", specs.Header{Host: true}, "--pid"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckBundle(&tt.header, b)
			if tt.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestCheckMachine(t *testing.T) {
	for _, h := range []specs.Header{{Machine: "s390x"}, {PageSize: 1 << 20}} {
		if err := CheckMachine(&h); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	if err := CheckMachine(&specs.Header{PageSize: uint32(os.Getpagesize())}); err != nil {
		t.Error(err)
	}
}
