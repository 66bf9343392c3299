package hook

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadState(t *testing.T) {
	tests := []struct{ name, text, says string }{
		{"good", `{"ociVersion":"1.0.2","id":"web","pid":7,"bundle":"/b/./c","annotations":{"a":"b"},"root":"rootfs"}`, ""},
		{"empty", ``, "not the state"},
		{"a list", `[]`, "not the state"},
		{"no version", `{"id":"web","bundle":"/b"}`, "ociVersion"},
		{"no id", `{"ociVersion":"1","bundle":"/b"}`, "id"},
		{"a path for an id", `{"ociVersion":"1","id":"a/b","bundle":"/b"}`, "a/b"},
		{"dots for an id", `{"ociVersion":"1","id":"..","bundle":"/b"}`, `".."`},
		{"no bundle", `{"ociVersion":"1","id":"web"}`, "bundle"},
		{"negative pid", `{"ociVersion":"1","id":"web","bundle":"/b","pid":-1}`, "-1"},
		{"too much", strings.Repeat(" ", maxState+2), "more than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := readState(strings.NewReader(tt.text))
			if tt.says == "" {
				if err != nil || s.ID != "web" || s.Bundle != "/b/c" {
					t.Errorf("%+v, %v", s, err)
				}
				return
			}
			if !errors.Is(err, ErrState) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

func FuzzReadState(f *testing.F) {
	f.Add(`{"ociVersion":"1.0.2","id":"web","pid":7,"bundle":"/b","annotations":{"dev.rethaw.restore":"x"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := readState(strings.NewReader(text))
		if err != nil {
			return
		}
		if where := placeOf(s.ID, s.Bundle); filepath.Dir(string(where)) != base {
			t.Errorf("the place is %s", where)
		}
		if w, err := wishes(s); err == nil && w != nil && w.Restore != "" {
			if got := under("/bundle", w.Restore); !filepath.IsAbs(w.Restore) && !strings.HasPrefix(got, "/bundle/") {
				t.Errorf("%q leads to %s", w.Restore, got)
			}
		}
	})
}

func TestParseRequest(t *testing.T) {
	good := map[string]string{
		`{"checkpoint":{}}` + "\n":                              "",
		`{"checkpoint":{"image":"warm","leave_running":false}}`: "warm",
	}
	for line, want := range good {
		if r, err := parseRequest([]byte(line)); err != nil || r.Checkpoint.Image != want {
			t.Errorf("%q: %+v, %v", line, r, err)
		}
	}
	for _, line := range []string{
		"", "\n", "{}", "null", "[]", `{"checkpoint":null}`, `{"checkpoint":{"image":"a/b"}}`, `{"checkpoint":{"image":"."}}`,
		`{"checkpoint":{"size":1}}`, `{"checkpoint":{},"more":1}`, `{"checkpoint":{}} x`, `{"checkpoint":{"leave_running":"no"}}`,
	} {
		if r, err := parseRequest([]byte(line)); err == nil {
			t.Errorf("%q: %+v", line, r)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"checkpoint":{"image":"warm","leave_running":false}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parseRequest(line)
		if err != nil {
			return
		}
		p := &plan{ID: "web", Bundle: "/b", Wishes: &Wishes{}}
		if name := r.Checkpoint.Image; name != "" {
			if got := p.imagePath(true, name, coarseNow()); filepath.Dir(got) != "/b/checkpoints" {
				t.Errorf("%q leads to %s", name, got)
			}
		}
	})
}

// sockets is what /proc/net/tcp shows.
const sockets = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4714 1 0000000000000000 100 0 0 10 0
`

func TestListeners(t *testing.T) {
	for port, want := range map[int][]uint64{8080: {4711}, 80: {4712}, 81: nil, 50000: nil} {
		got, err := listeners(strings.NewReader(sockets), port)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%d: %v, %v", port, got, err)
		}
	}
}

func FuzzListeners(f *testing.F) {
	f.Add(sockets, 8080)
	f.Fuzz(func(t *testing.T, text string, port int) {
		_, _ = listeners(strings.NewReader(text), port)
	})
}
