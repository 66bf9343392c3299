package hook

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	runtimespec "github.com/opencontainers/runtime-spec/specs-go"
)

// bundle makes a bundle with a configuration.
func bundle(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// configs are configurations in the shapes that people and engines give them.
var configs = map[string]string{
	"tabs":          "{\n\t\"ociVersion\": \"1.0.2\",\n\t\"x\": {  \"unknown\":1.0e3 },\n\t\"root\": {\n\t\t\"path\": \"rootfs\"\n\t}\n}\n",
	"spaces":        "{\n    \"ociVersion\": \"1.0.2\",\n    \"root\": {\"path\": \"rootfs\"}\n}",
	"two spaces":    "{\n  \"hooks\": {\n    \"prestart\": [\n      {\"path\": \"/bin/true\", \"own\": 1}\n    ]\n  },\n  \"ociVersion\": \"1.0.2\"\n}\n",
	"compact":       `{"ociVersion":"1.0.2","annotations":{"a":"b"},"root":{"path":"rootfs"}}`,
	"least":         `{}`,
	"others' hooks": `{"hooks":{"createRuntime":[{"path":"/bin/true"}],"poststop":[]},"annotations":{"z":"1"}}`,
}

func TestAddAndRemove(t *testing.T) {
	for name, text := range configs {
		t.Run(name, func(t *testing.T) {
			dir := bundle(t, text)
			add := map[string]string{"dev.rethaw.restore": "checkpoint", "dev.rethaw.checkpoint.after": "3s"}
			if changed, err := Add(dir, add); err != nil || !changed {
				t.Fatalf("%v, %v", changed, err)
			}
			first := read(t, dir)
			var spec struct {
				Annotations map[string]string
				Hooks       runtimespec.Hooks
			}
			if err := json.Unmarshal([]byte(first), &spec); err != nil {
				t.Fatal(err)
			}
			for key, value := range add {
				if spec.Annotations[key] != value {
					t.Errorf("annotation %s is %q", key, spec.Annotations[key])
				}
			}
			h := spec.Hooks
			for stage, list := range map[string][]runtimespec.Hook{"createRuntime": h.CreateRuntime, "createContainer": h.CreateContainer, "poststop": h.Poststop} {
				if len(list) == 0 || !ours(list[len(list)-1], stage) || !filepath.IsAbs(list[len(list)-1].Path) {
					t.Errorf("%s: %+v", stage, list)
				}
			}
			if changed, err := Add(dir, add); err != nil || changed || read(t, dir) != first {
				t.Errorf("the second time: %v, %v", changed, err)
			}
			if changed, err := Remove(dir, true); err != nil || !changed {
				t.Fatalf("%v, %v", changed, err)
			}
			want := strings.Replace(text, `,"poststop":[]`, "", 1)
			if diff := cmp.Diff(normal(t, want), normal(t, read(t, dir))); diff != "" {
				t.Errorf("added and removed:\n%s", diff)
			}
			if name != "others' hooks" && name != "two spaces" && read(t, dir) != text {
				t.Errorf("the text has changed:\n%s", cmp.Diff(text, read(t, dir)))
			}
			info, err := os.Stat(filepath.Join(dir, configFile))
			if err != nil || info.Mode() != 0o640 {
				t.Errorf("%v, %v", info.Mode(), err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

func normal(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestAddKeeps(t *testing.T) {
	text := `{"hooks":{"createRuntime":[{"path":"/old/rethaw","args":["rethaw","hook","createRuntime"],"timeout":7,"env":["A=b"]},{"path":"/other"}]}}`
	dir := bundle(t, text)
	if _, err := Add(dir, nil); err != nil {
		t.Fatal(err)
	}
	var spec runtimespec.Spec
	if err := json.Unmarshal([]byte(read(t, dir)), &spec); err != nil {
		t.Fatal(err)
	}
	list := spec.Hooks.CreateRuntime
	if len(list) != 2 || list[0].Path == "/old/rethaw" || list[0].Timeout == nil || *list[0].Timeout != 7 || len(list[0].Env) != 1 || list[1].Path != "/other" {
		t.Errorf("%+v", list)
	}
}

func TestAddRefuses(t *testing.T) {
	tests := []struct {
		name, text string
		add        map[string]string
		want       error
	}{
		{"no JSON", "{", nil, ErrConfig},
		{"a list", "[]", nil, ErrConfig},
		{"something behind", "{} {}", nil, ErrConfig},
		{"twice", `{"hooks":{},"hooks":{}}`, nil, ErrConfig},
		{"hooks of another kind", `{"hooks":[]}`, nil, ErrConfig},
		{"stage of another kind", `{"hooks":{"poststop":{}}}`, nil, ErrConfig},
		{"annotations of another kind", `{"annotations":{"a":1}}`, nil, ErrConfig},
		{"bad annotation", `{}`, map[string]string{"dev.rethaw.restart": "x"}, ErrAnnotation},
		{"bad value", `{}`, map[string]string{"dev.rethaw.checkpoint.after": "x"}, ErrAnnotation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := bundle(t, tt.text)
			if _, err := Add(dir, tt.add); !errors.Is(err, tt.want) {
				t.Errorf("got %v", err)
			}
			if read(t, dir) != tt.text {
				t.Error("the file has changed")
			}
		})
	}
	if _, err := Add(t.TempDir(), nil); !errors.Is(err, ErrConfig) {
		t.Errorf("no configuration: %v", err)
	}
}

func TestAddThroughLink(t *testing.T) {
	real := bundle(t, "{}")
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(real, configFile), filepath.Join(dir, configFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Add(dir, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(filepath.Join(dir, configFile))
	if err != nil || info.Mode()&os.ModeSymlink == 0 || read(t, real) == "{}" {
		t.Errorf("%v, %v", info, err)
	}
}

// FuzzObject: whatever is set and removed, the other members stay.
func FuzzObject(f *testing.F) {
	for _, text := range configs {
		f.Add(text, "hooks", `{"a":[1]}`)
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		o, err := parseObject([]byte(text))
		if err != nil || !json.Valid([]byte(value)) {
			return
		}
		var before, after map[string]json.RawMessage
		if json.Unmarshal(o.text, &before) != nil || len(before) != len(o.members) {
			return // keys that differ in invalid UTF-8 only
		}
		name, _ := json.Marshal(key)
		var sure string
		if json.Unmarshal(name, &sure) != nil || sure != key {
			return
		}
		o.set(key, []byte(value))
		if err := json.Unmarshal(o.text, &after); err != nil {
			t.Fatalf("%q: %v", o.text, err)
		}
		if string(compact(after[key])) != string(compact([]byte(value))) {
			t.Errorf("%q became %q in %q", value, after[key], o.text)
		}
		o.remove(key)
		after = nil
		if err := json.Unmarshal(o.text, &after); err != nil {
			t.Fatalf("%q: %v", o.text, err)
		}
		delete(before, key)
		if len(before) != len(after) {
			t.Errorf("%q lost something: %q", text, o.text)
		}
		for k, v := range before {
			if string(after[k]) != string(v) {
				t.Errorf("%q: %q became %q", k, v, after[k])
			}
		}
	})
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hooks.d")
	written, err := Install(dir)
	if err != nil || len(written) != len(installed()) {
		t.Fatalf("%v, %v", written, err)
	}
	for i, path := range written {
		var d definition
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		if d.Version != "1.0.0" || len(d.Stages) != 1 || d.Stages[0] != installed()[i] || !ours(d.Hook, d.Stages[0]) || d.When.Annotations[`^dev\.rethaw\.`] != ".*" {
			t.Errorf("%s: %+v", path, d)
		}
	}
	if again, err := Install(dir); err != nil || len(again) != len(written) {
		t.Errorf("%v, %v", again, err)
	}
	if removed, err := Uninstall(dir); err != nil || len(removed) != len(written) {
		t.Errorf("%v, %v", removed, err)
	}
	if removed, err := Uninstall(dir); err != nil || len(removed) != 0 {
		t.Errorf("the second time: %v, %v", removed, err)
	}
	if _, err := Fragment(); err != nil {
		t.Error(err)
	}
}
