package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// forge writes the image at from once more to dir, with right sums, after spoil has
// been at its records.
func forge(t *testing.T, from, dir string, spoil func(id specs.ID, r specs.Record)) {
	t.Helper()
	img, err := image.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	w, err := image.Create(dir, image.WithoutSync(), image.WithoutChecks())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, m := range img.Members() {
		in, err := img.Member(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		if err := copyMember(w, m, in); err != nil {
			t.Fatal(err)
		}
	}
	for id, r := range img.All() {
		spoil(id, r)
		if err := w.Put(id, r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func copyMember(w *image.Writer, m specs.Member, in *os.File) error {
	defer in.Close()
	out := (*os.File)(nil)
	if strings.HasPrefix(m.Name, specs.PagesPrefix) {
		pages, err := w.Pages()
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("%s%d%s", specs.PagesPrefix, pages.Number(), specs.PagesSuffix); want != m.Name {
			return fmt.Errorf("%s comes as %s", m.Name, want)
		}
		if _, err := pages.Allocate(m.Size); err != nil {
			return err
		}
		out = pages.File()
	} else {
		var err error
		if out, err = w.Member(m.Name); err != nil {
			return err
		}
	}
	_, err := io.Copy(io.NewOffsetWriter(out, 0), io.NewSectionReader(in, 0, m.Size))
	return err
}

// on spoils the first record of a type that fits.
func on[T specs.Record](spoil func(T) bool) func(specs.ID, specs.Record) {
	done := false
	return func(_ specs.ID, r specs.Record) {
		if typed, ok := r.(T); ok && !done {
			done = spoil(typed)
		}
	}
}

// always spoils whatever comes first.
func always[T specs.Record](spoil func(T)) func(specs.ID, specs.Record) {
	return on(func(r T) bool { spoil(r); return true })
}

// TestHostileImage has images made whose sums are right. What can be told from the image
// is refused before a container is made, by verify and by restore; what only the kernel
// can tell fails as a whole. Never is anything left, and the good image restores.
func TestHostileImage(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := theRig(t).RunProgram(t, "tree", rig.Config{})
	p.Checkpoint()
	p.AssertGone()
	dir := t.TempDir()
	for _, c := range []struct {
		name  string
		spoil func(specs.ID, specs.Record)
	}{
		{"nothing", func(specs.ID, specs.Record) {}},
		{"task its own parent", on(func(r *specs.Task) bool { r.PPID = r.PID; return r.PID != 1 })},
		{"fd of 2^31-1", on(func(r *specs.FDs) bool {
			if len(r.Entries) > 0 {
				r.Entries[0].Number = 1<<31 - 1
			}
			return len(r.Entries) > 0
		})},
		{"area over the vdso", always(func(r *specs.Memory) {
			i := slices.IndexFunc(r.Areas, func(a specs.Area) bool { return a.Kind == "vdso" })
			r.Areas[0].End = r.Areas[i].End
		})},
		{"path that climbs", always(func(r *specs.Regular) { r.Path = "/tmp/../../../" + r.Path })},
		{"clock 77", always(func(r *specs.Task) { r.Timers = []specs.Timer{{Clock: 77}} })},
		{"memory that is a thread", func() func(specs.ID, specs.Record) {
			return always(func(r *specs.Task) { r.Memory = r.Threads[0] })
		}()},
	} {
		forged := filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-"))
		forge(t, p.Image, forged, c.spoil)
		verify := p.Verify(forged)
		if c.name == "nothing" {
			if verify.Code != 0 {
				t.Fatalf("a copy is no image: %v", verify)
			}
			continue
		}
		refused(t, verify, exitImage, "damaged")
		refused(t, p.TryRethaw("restore", "--detach", "--bundle", p.Bundle, "--image", forged, p.ID), exitImage, "damaged")
		p.AssertGone()
	}
	for name, spoil := range map[string]func(specs.ID, specs.Record){
		"rights that the container has not": always(func(r *specs.Thread) { r.Creds.Permitted, r.Creds.Effective = 1<<41-1, 1<<41-1 }),
		"a filter of nonsense": always(func(r *specs.Thread) {
			r.Seccomp = &specs.Seccomp{Mode: 2, Filters: []specs.SeccompFilter{{Program: []byte("nonsense")}}}
		}),
		"segments of the kernel":        always(func(r *specs.Thread) { copy(r.Registers[17*8:], []byte{0x10, 0, 0, 0}) }),
		"state of another processor":    always(func(r *specs.Thread) { r.XState = make([]byte, 100) }),
		"an area at the first address":  always(func(r *specs.Memory) { r.Areas[0].Start = 0 }),
		"descriptor above the limit":    on(func(r *specs.FDs) bool { r.Entries[0].Number = specs.MaxFD; return true }),
		"a file that is not there":      always(func(r *specs.Regular) { r.Path = "/no/such/file" }),
		"a directory that is not there": always(func(r *specs.FS) { r.Cwd = "/no/such/directory" }),
		"a policy without a node": always(func(r *specs.Thread) {
			r.Attributes = &specs.ThreadAttributes{Policy: &specs.MemoryPolicy{Mode: 2, Nodes: []byte{0, 0, 0, 1}}}
		}),
		"the number of init, twice": on(func(r *specs.Thread) bool {
			if r.TID == 1 {
				return false
			}
			r.TID = specs.MaxPID
			return true
		}),
	} {
		forged := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		forge(t, p.Image, forged, spoil)
		r := p.TryRethaw("restore", "--detach", "--bundle", p.Bundle, "--image", forged, p.ID)
		t.Logf("%s: %d %s", name, r.Code, r.Stderr)
		if r.Code == 0 {
			t.Errorf("%s: it was restored", name)
			p.Delete()
		}
		if strings.Contains(r.Stderr, "goroutine ") || strings.Contains(r.Stderr, "panic") {
			t.Errorf("%s: %v", name, r)
		}
		p.AssertGone()
	}
	p.Restore()
	p.Check("after all that")
}
