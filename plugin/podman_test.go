package plugin

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	idOne = "4422b1d135b730f18e3be77cd489831f0792205a95799b0cb693e9e76fe84c53"
	idTwo = "442251a278b8baef3fe85876f5e828770504f985fc7c85752147522cd536902c"
)

func TestTOMLString(t *testing.T) {
	text := "# graphroot = \"/no\"\ngraphroot = \"/top\"\n[storage]\n driver = \"overlay\"\ngraphroot = \"/data/store\" # here\n" +
		"runroot='/run/x'\nodd = [\"a\"]\n[storage.options]\ngraphroot = \"/other\"\nsize = \"1\n"
	tests := []struct{ table, key, want string }{
		{"storage", "graphroot", "/data/store"},
		{"storage", "runroot", "/run/x"},
		{"storage", "driver", "overlay"},
		{"storage", "odd", ""},
		{"storage", "absent", ""},
		{"storage.options", "graphroot", "/other"},
		{"storage.options", "size", ""},
	}
	for _, tt := range tests {
		if got := tomlString([]byte(text), tt.table, tt.key); got != tt.want {
			t.Errorf("%s.%s: got %q, want %q", tt.table, tt.key, got, tt.want)
		}
	}
}

func FuzzTOMLString(f *testing.F) {
	f.Add([]byte("[storage]\ngraphroot = \"/x\""))
	f.Fuzz(func(t *testing.T, text []byte) { tomlString(text, "storage", "graphroot") })
}

func TestMatch(t *testing.T) {
	all := []stored{{ID: idOne, Names: []string{"web"}}, {ID: idTwo, Names: []string{"4422", "db"}}}
	tests := []struct {
		name string
		want []string
	}{
		{"web", []string{idOne}},
		{"4422", []string{idTwo}}, // a name goes before the beginning of an id
		{"442", []string{idOne, idTwo}},
		{"4422b", []string{idOne}},
		{idTwo, []string{idTwo}},
		{"eb", nil},
	}
	for _, tt := range tests {
		var got []string
		for _, c := range match(all, tt.name) {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestStorage(t *testing.T) {
	graph, run := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(graph, "overlay-containers", "containers.json"), `[{"id":"`+idOne+`","names":["web"],"created":"2026-11-23T16:39:38.6Z"}]`)
	write(filepath.Join(run, "overlay-containers", "volatile-containers.json"), `[{"id":"`+idTwo+`","names":null}]`)
	all, err := storage{graph: graph, run: run}.containers()
	if err != nil || len(all) != 2 {
		t.Fatalf("got %v, %v", all, err)
	}
	if all[0].name() != "web" || all[0].Created.IsZero() || all[0].bundle() != filepath.Join(graph, "overlay-containers", idOne, "userdata") {
		t.Errorf("got %+v", all[0])
	}
	if all[1].name() != "" || filepath.Dir(filepath.Dir(all[1].bundle())) != filepath.Join(graph, "overlay-containers") {
		t.Errorf("got %+v", all[1])
	}
	write(filepath.Join(graph, "vfs-containers", "containers.json"), `[{"id":"../../etc"}]`)
	if _, err := (storage{graph: graph}).containers(); err == nil || !strings.Contains(err.Error(), "vfs-containers") {
		t.Errorf("an id that climbs: %v", err)
	}
}

func FuzzParseStored(f *testing.F) {
	f.Add([]byte(`[{"id":"` + idOne + `","names":["web"],"created":"2026-11-23T16:39:38.6Z"}]`))
	f.Add([]byte(`[{"id":".."}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseStored(data)
		for _, c := range found {
			if err == nil && strings.Contains(c.ID, "/") {
				t.Errorf("id %q", c.ID)
			}
		}
	})
}

func TestWatches(t *testing.T) {
	tests := []struct {
		cmdline string
		want    bool
	}{
		{"/usr/bin/conmon --api-version 1 -c ID -u ID -r /usr/bin/runc", true},
		{"/usr/bin/podman --root /r container cleanup ID", true},
		{"/usr/bin/podman container cleanup --exec EXEC ID", false},
		{"/usr/bin/conmon --api-version 1 -c ID -u EXEC --exec-process-spec /p --exec-attach", false},
		{"podman start ID", false},
		{"podman logs -f ID", false},
		{"conmon -c OTHER -u OTHER --exit-command-arg ID", false},
		{"ID", false},
		{"", false},
	}
	for _, tt := range tests {
		cmdline := strings.ReplaceAll(strings.ReplaceAll(tt.cmdline, "ID", idOne), " ", "\x00") + "\x00"
		if got := watches([]byte(cmdline), idOne); got != tt.want {
			t.Errorf("%s: got %v", tt.cmdline, got)
		}
	}
}

func TestEndable(t *testing.T) {
	auto := &Config{Annotations: map[string]string{"io.podman.annotations.autoremove": "TRUE"}}
	dir := filepath.Join("/store/overlay-containers", idOne)
	tests := []struct {
		name   string
		config *Config
		image  string
		bad    bool
	}{
		{"stays", new(Config), dir + "/userdata/checkpoint", false},
		{"goes, image inside", auto, dir + "/userdata/checkpoint", true},
		{"goes, image elsewhere", auto, "/srv/image", false},
		{"goes, image beside", auto, dir + "-image", false},
	}
	for _, tt := range tests {
		c := &podmanContainer{engine: NewPodman("podman", "/store"), entry: stored{ID: idOne, dir: dir}, config: tt.config}
		if err := c.Endable(tt.image); (err != nil) != tt.bad {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
