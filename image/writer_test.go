package image

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/specs"
)

// create begins an image that is aborted with the test.
func create(t testing.TB, dir string) *Writer {
	t.Helper()
	w, err := Create(dir, WithoutChecks())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Abort(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// only checks that only these names are in dir.
func only(t testing.TB, dir string, want ...string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, file := range files {
		got = append(got, file.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s has %q, not %q", dir, got, want)
	}
}

func TestModesWhateverTheUmask(t *testing.T) {
	for _, mask := range []int{0, 0o022, 0o777} {
		dir := filepath.Join(t.TempDir(), "checkpoint")
		old := syscall.Umask(mask)
		commit(t, dir)
		syscall.Umask(old)
		if info, err := os.Stat(dir); err != nil || info.Mode() != 0o700|os.ModeDir {
			t.Errorf("umask %o: %v %v", mask, info.Mode(), err)
		}
		for _, name := range []string{"image.rt", "pages-1.rp", "pages-2.rp", "tmpfs-1.tar"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o600 {
				t.Errorf("umask %o: %s %v %v", mask, name, info.Mode(), err)
			}
		}
	}
}

func TestPutFromManyGoroutines(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	w := create(t, dir)
	const goroutines, each = 8, 200
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				id := specs.ID(1 + g*each + i)
				// Some records are large, so that several flushes happen.
				if err := w.Put(id, &specs.Pipe{Inode: uint64(id), Size: 1 << 20, Data: make([]byte, i*40)}); err != nil {
					t.Error(err)
				}
				if g == 3 && i == each/2 {
					if err := w.Put(0, header()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	stats, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if stats.Records != goroutines*each+1 {
		t.Errorf("%d records", stats.Records)
	}
	r := open(t, dir)
	for id := specs.ID(1); id <= goroutines*each; id++ {
		p, err := Get[*specs.Pipe](r, id)
		if err != nil || p.Inode != uint64(id) {
			t.Fatal(id, err)
		}
	}
}

func TestMisuse(t *testing.T) {
	page := uint64(os.Getpagesize())
	put := func(id specs.ID, r specs.Record) func(*Writer) error {
		return func(w *Writer) error { return w.Put(id, r) }
	}
	var none *specs.Task
	for name, c := range map[string]struct {
		do   func(*Writer) error
		says string
	}{
		"nil":                 {put(1, nil), "no record"},
		"nil pointer":         {put(1, none), "not a pointer"},
		"framing record":      {put(1, &specs.Members{}), "unknown record type"},
		"borrowed type":       {put(1, struct{ *specs.Task }{&specs.Task{}}), "not a pointer"},
		"borrowed by ptr":     {put(1, &struct{ *specs.Task }{&specs.Task{}}), "says that it is"},
		"second header":       {put(0, header()), "header already"},
		"other page size":     {put(0, &specs.Header{PageSize: 1 << 30}), "page size"},
		"taken ID":            {put(1, &specs.UTS{}), "taken"},
		"extent without room": {put(9, &specs.Shared{Pages: []specs.Extent{{Count: 1, File: 1, Offset: 100 * page}}}), "not within"},
		"extent without file": {put(9, &specs.Shared{Pages: []specs.Extent{{Count: 1, File: 9}}}), "pages-9.rp"},
		"dangling": {func(w *Writer) error {
			return errors.Join(w.Put(9, &specs.Epoll{Watches: []specs.Watch{{File: 77}}}), w.Seal(context.Background()))
		}, "Epoll 9 refers to object 77"},
		"archive not written": {func(w *Writer) error {
			err := w.Put(9, &specs.Tmpfs{Archive: "tmpfs-8.tar"})
			_, failed := w.Commit(t.Context())
			return errors.Join(err, failed)
		}, "tmpfs-8.tar"},
		"put after seal": {func(w *Writer) error { return errors.Join(w.Seal(context.Background()), w.Put(9, &specs.UTS{})) }, ErrClosed.Error()},
		"pages after seal": {func(w *Writer) error {
			_, err := w.Pages()
			return errors.Join(w.Seal(context.Background()), err, pagesError(w))
		}, ErrClosed.Error()},
		"member with a path": {func(w *Writer) error { _, err := w.Member("../x"); return err }, "is not made of"},
		"member hidden":      {func(w *Writer) error { _, err := w.Member(".x"); return err }, "is not made of"},
		"member of pages":    {func(w *Writer) error { _, err := w.Member("pages-7.rp"); return err }, "kept for page data"},
		"member like pages":  {func(w *Writer) error { _, err := w.Member("pages-07.rp"); return err }, "kept for page data"},
		"member image.rt":    {func(w *Writer) error { _, err := w.Member(specs.ImageFile); return err }, "taken by the records"},
		"member twice":       {func(w *Writer) error { _, err := w.Member("tmpfs-1.tar"); return err }, "exists"},
		"member too long":    {func(w *Writer) error { _, err := w.Member(strings.Repeat("a", 65)); return err }, "65 bytes"},
		"negative room":      {func(w *Writer) error { _, err := w.pages[0].Allocate(-1); return err }, "cannot allocate"},
		"endless room":       {func(w *Writer) error { _, err := w.pages[0].Allocate(maxAllocation); return err }, "cannot allocate"},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			w := create(t, filepath.Join(parent, "checkpoint"))
			build(t, w)
			if err := c.do(w); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Error(err)
			}
			if err := w.Abort(); err != nil {
				t.Error(err)
			}
			only(t, parent)
			if _, err := w.Commit(t.Context()); !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func pagesError(w *Writer) error { _, err := w.Pages(); return err }

func TestNoHeader(t *testing.T) {
	parent := t.TempDir()
	w := create(t, filepath.Join(parent, "checkpoint"))
	if _, err := w.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "no header") {
		t.Error(err)
	}
	only(t, parent)
}

func TestCancelledCommit(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	commit(t, dir)
	w := create(t, dir)
	build(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	only(t, parent, "checkpoint")
	open(t, dir)
}

// TestClosedByTheUser: who got a file may close it before Commit.
func TestClosedByTheUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoint")
	w := create(t, dir)
	build(t, w)
	w.store.(*directoryStore).files[0].Close()
	w.pages[0].File().Close()
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := open(t, dir).Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// TestFullDisk writes to a filesystem of 1 MiB.
func TestFullDisk(t *testing.T) {
	// The mount is seen by this thread alone and goes with it.
	runtime.LockOSThread()
	parent := t.TempDir()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("a mount namespace of our own: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Skipf("private mounts: %v", err)
	}
	if err := unix.Mount("tmpfs", parent, "tmpfs", 0, "size=1M"); err != nil {
		t.Skipf("a small tmpfs: %v", err)
	}
	defer unix.Unmount(parent, unix.MNT_DETACH)
	dir := filepath.Join(parent, "checkpoint")
	commit(t, dir)
	for name, fill := range map[string]func(w *Writer) error{
		"pages":   func(w *Writer) error { _, err := w.pages[0].Allocate(2 << 20); return err },
		"records": func(w *Writer) error { return w.Put(99, &specs.Pipe{Data: make([]byte, 2<<20)}) },
		"commit": func(w *Writer) error {
			err := w.Put(99, &specs.Pipe{Data: make([]byte, 1<<20-20000)})
			if err != nil {
				t.Error("early: ", err)
			}
			_, err = w.Commit(t.Context())
			return err
		},
	} {
		w, err := Create(dir, WithoutChecks())
		if err != nil {
			t.Fatal(err)
		}
		build(t, w)
		err = fill(w)
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free some space") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "records" {
			if _, err := w.Commit(t.Context()); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("%s: commit after it: %v", name, err)
			}
		}
		if err := w.Abort(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		only(t, parent, "checkpoint")
		if err := open(t, dir).Verify(t.Context(), nil); err != nil {
			t.Errorf("%s: the image before it: %v", name, err)
		}
	}
}

// descriptors counts those of the process.
func descriptors(t testing.TB) int {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(files)
}

func TestNoDescriptorStays(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	before := descriptors(t)
	for range 3 {
		commit(t, dir)
		if w, err := Create(dir); err != nil {
			t.Error(err)
		} else {
			build(t, w)
			if _, err := Create(dir); !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			w.Abort()
		}
		r, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.PagesFile(1)
		r.PagesFile(1)
		r.Verify(t.Context(), nil)
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		Open(parent)
		Create(parent)
		Create(filepath.Join(parent, "x", "y"))
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

// TestMain lets TestKilledWriter run this binary as the writer that dies.
func TestMain(m *testing.M) {
	if dir := os.Getenv("IMAGE_TEST_DIE_AT"); dir != "" {
		w, err := Create(dir)
		if err == nil {
			_, err = w.Member("tmpfs-1.tar")
		}
		if err == nil {
			_, err = w.Pages()
		}
		if err == nil {
			err = w.Put(0, header())
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	os.Exit(m.Run())
}

func TestKilledWriter(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "checkpoint")
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "IMAGE_TEST_DIE_AT="+dir)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
	only(t, parent, "checkpoint.partial")
	only(t, dir+specs.PartialSuffix, "image.rt", "pages-1.rp", "tmpfs-1.tar")
	if _, err := Open(dir + specs.PartialSuffix); !errors.Is(err, ErrNotImage) {
		t.Error(err)
	}
	commit(t, dir)
	only(t, parent, "checkpoint")
	open(t, dir)
}
