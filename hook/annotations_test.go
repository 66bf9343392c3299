package hook

import (
	"errors"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseAnnotations(t *testing.T) {
	tests := []struct {
		name string
		all  map[string]string
		want *Wishes
		says string
	}{
		{"none", nil, nil, ""},
		{"others", map[string]string{"org.example": "x", "dev.rethawing": "y"}, nil, ""},
		{"restore", map[string]string{"dev.rethaw.restore": "/srv//web.image/"}, &Wishes{Restore: "/srv/web.image", Keep: 10}, ""},
		{"in the bundle", map[string]string{"dev.rethaw.restore": "a/../checkpoint"}, &Wishes{Restore: "checkpoint", Keep: 10}, ""},
		{"all", map[string]string{
			"dev.rethaw.checkpoint.after": "1m30s", "dev.rethaw.checkpoint.listening": "8080", "dev.rethaw.checkpoint.file": "/run/ready/",
			"dev.rethaw.checkpoint.every": "10m", "dev.rethaw.checkpoint.keep": "3", "dev.rethaw.checkpoint.on-request": "true",
			"dev.rethaw.checkpoint.image": "/images/{id}/{time}", "dev.rethaw.checkpoint.leave-running": "false",
			"dev.rethaw.checkpoint.file-locks": "true",
		}, &Wishes{
			After: 90 * time.Second, Listening: 8080, File: "/run/ready", Every: 10 * time.Minute, Keep: 3, OnRequest: true,
			Image: "/images/{id}/{time}", Stop: true, FileLocks: true,
		}, ""},
		{"off", map[string]string{"dev.rethaw.checkpoint.on-request": "false"}, &Wishes{Keep: 10}, ""},
		{"unknown", map[string]string{"dev.rethaw.checkpoint.when": "now"}, nil, "dev.rethaw.checkpoint.when: there is dev.rethaw.restore,"},
		{"nothing after the prefix", map[string]string{"dev.rethaw.": ""}, nil, "bad annotation"},
		{"empty restore", map[string]string{"dev.rethaw.restore": ""}, nil, "empty"},
		{"climbs out", map[string]string{"dev.rethaw.restore": "images/../../x"}, nil, "below the bundle"},
		{"the bundle itself", map[string]string{"dev.rethaw.restore": "."}, nil, "below the bundle"},
		{"NUL", map[string]string{"dev.rethaw.restore": "a\x00b"}, nil, "NUL"},
		{"no unit", map[string]string{"dev.rethaw.checkpoint.after": "30"}, nil, "unit"},
		{"no time", map[string]string{"dev.rethaw.checkpoint.every": "0s"}, nil, "1ms"},
		{"past", map[string]string{"dev.rethaw.checkpoint.after": "-3s"}, nil, "1ms"},
		{"port 0", map[string]string{"dev.rethaw.checkpoint.listening": "0"}, nil, "65535"},
		{"port too high", map[string]string{"dev.rethaw.checkpoint.listening": "65536"}, nil, "65535"},
		{"port with a sign", map[string]string{"dev.rethaw.checkpoint.listening": "+80"}, nil, "65535"},
		{"root as the file", map[string]string{"dev.rethaw.checkpoint.file": "/.."}, nil, "absolute path inside"},
		{"yes", map[string]string{"dev.rethaw.checkpoint.on-request": "yes"}, nil, `"true" or "false"`},
		{"keep of nothing", map[string]string{"dev.rethaw.checkpoint.keep": "3", "dev.rethaw.checkpoint.after": "1s"}, nil, "goes with every"},
		{"image of nothing", map[string]string{"dev.rethaw.checkpoint.image": "/x"}, nil, "nothing asks"},
		{"locks of nothing", map[string]string{"dev.rethaw.checkpoint.file-locks": "true"}, nil, "nothing asks for an image"},
		{"locks", map[string]string{"dev.rethaw.checkpoint.file-locks": "yes"}, nil, "true"},
		{"stop of nothing", map[string]string{"dev.rethaw.checkpoint.leave-running": "false", "dev.rethaw.checkpoint.every": "1s"}, nil, "goes with after"},
		{"one place for many", map[string]string{"dev.rethaw.checkpoint.image": "/x", "dev.rethaw.checkpoint.every": "1s"}, nil, "{time}"},
		{"time in the middle", map[string]string{"dev.rethaw.checkpoint.image": "/x/{time}/y", "dev.rethaw.checkpoint.after": "1s"}, nil, "last part"},
		{"unknown mark", map[string]string{"dev.rethaw.checkpoint.image": "/x/{name}", "dev.rethaw.checkpoint.after": "1s"}, nil, "marks are"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseAnnotations(tt.all)
			if tt.says != "" {
				if !errors.Is(err, ErrAnnotation) || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %v, want %q", err, tt.says)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}

func TestImagePath(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)
	tests := []struct {
		pattern string
		many    bool
		name    string
		want    string
	}{
		{"", false, "", "/b/checkpoint"},
		{"", true, "", "/b/checkpoints/20260304T050607.089Z"},
		{"", true, "mine", "/b/checkpoints/mine"},
		{"images/{id}-{time}", true, "", "/b/images/web-20260304T050607.089Z"},
		{"/srv/{id}/{time}.img", false, "", "/srv/web/20260304T050607.089Z.img"},
		{"/srv/{id}/{time}.img", true, "mine", "/srv/web/mine"},
	}
	for _, tt := range tests {
		p := &plan{ID: "web", Bundle: "/b", Wishes: &Wishes{Image: tt.pattern}}
		if got := p.imagePath(tt.many, tt.name, now); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestTimed(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"{time}", "20260304T050607.089Z", true},
		{"{time}", "20260304T050607.089Z.partial", false},
		{"{time}", "named", false},
		{"a-{time}.b", "a-20260304T050607.089Z.b", true},
		{"a-{time}.b", "20260304T050607.089Z", false},
		{"a-{time}-a", "a-", false},
	}
	for _, tt := range tests {
		if got := timed(tt.pattern, tt.name); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
		if tt.want && imageName(tt.name) {
			t.Errorf("a program may choose %q", tt.name)
		}
	}
}

func TestImageName(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "Warm_start-2": true, "": false, "-x": false, "_x": false, "a.b": false, "..": false, "a/b": false, "a\x00": false,
		"ä": false, strings.Repeat("a", 64): true, strings.Repeat("a", 65): false,
	} {
		if got := imageName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestStateRoot(t *testing.T) {
	for line, want := range map[string]string{
		"runc --root /r create --bundle b x":         "/r",
		"crun --systemd-cgroup --root=/run/crun x":   "/run/crun",
		"runc -root r create x":                      "r",
		"runc create --bundle /b x":                  "",
		"runc --root":                                "",
		"conmon --runtime-arg --rootless create web": "",
	} {
		if got := stateRoot(strings.Fields(line)); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}

// FuzzParseAnnotations: whatever is asked for, paths stay where they belong.
func FuzzParseAnnotations(f *testing.F) {
	for _, n := range annotations() {
		for _, v := range []string{"true", "8080", "10s", "/a/../b", "x/y", "\x00", ""} {
			f.Add(n.name, v, "restore", "image")
		}
	}
	f.Fuzz(func(t *testing.T, name, value, other, otherValue string) {
		w, err := ParseAnnotations(map[string]string{Prefix + name: value, Prefix + other: otherValue, "org.example." + name: value})
		if err != nil {
			if !errors.Is(err, ErrAnnotation) {
				t.Fatalf("not of its kind: %v", err)
			}
			return
		}
		if w == nil {
			t.Fatal("annotations of ours ask for nothing")
		}
		if w.File != "" && !path.IsAbs(w.File) {
			t.Errorf("a file of the container at %q", w.File)
		}
	})
}
