package plugin

import (
	"encoding/json"
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
		{"users of its own", specs.Header{UIDMap: []specs.IDRange{{Inside: 0, Outside: 100000, Count: 10}}}, "uidMappings"},
		{"groups of its own", specs.Header{GIDMap: []specs.IDRange{{Inside: 0, Outside: 100000, Count: 10}}}, "gidMappings"},
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

func TestCheckUsers(t *testing.T) {
	config := new(Config)
	if err := json.Unmarshal([]byte(`{"linux": {"namespaces": [{"type": "user"}],
		"uidMappings": [{"containerID": 5, "hostID": 3, "size": 1}, {"containerID": 0, "hostID": 100000, "size": 5}],
		"gidMappings": [{"containerID": 0, "hostID": 200000, "size": 9}]}}`), config); err != nil {
		t.Fatal(err)
	}
	users := []specs.IDRange{{Inside: 0, Outside: 100000, Count: 5}, {Inside: 5, Outside: 3, Count: 1}}
	groups := []specs.IDRange{{Inside: 0, Outside: 200000, Count: 9}}
	for _, tt := range []struct {
		name   string
		header specs.Header
		text   string
	}{
		{"the same", specs.Header{UIDMap: users, GIDMap: groups}, ""},
		{"none", specs.Header{}, "uidMappings"},
		{"other users", specs.Header{UIDMap: users[:1], GIDMap: groups}, "uidMappings"},
		{"other groups", specs.Header{UIDMap: users, GIDMap: users}, "gidMappings"},
	} {
		err := CheckBundle(&tt.header, &Bundle{Dir: "/b", Config: config})
		if tt.text == "" && err != nil || tt.text != "" && (!errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), tt.text)) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.text)
		}
	}
	config.Linux.Namespaces[0].Path = "/proc/1/ns/user"
	if err := CheckBundle(&specs.Header{}, &Bundle{Dir: "/b", Config: config}); err != nil {
		t.Errorf("a namespace to be joined, whose users do not show yet: %v", err)
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
