package restore

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testRestorer is as much of a restorer as opens paths.
func testRestorer(t *testing.T) *restorer {
	t.Helper()
	o, err := newReopener()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.close() })
	return &restorer{reopen: o}
}

// TestReopen: what is not of the type is not opened, and nothing keeps us waiting.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.WriteFile(at("file"), []byte("x"), 0o600), os.Mkdir(at("dir"), 0o700), unix.Mkfifo(at("fifo"), 0o600),
		os.Symlink("file", at("good")), os.Symlink("fifo", at("tofifo")), os.Symlink("/proc/self/fd/0", at("magic")),
		os.Symlink("loop", at("loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	regular := ofType(unix.S_IFREG, "regular file")
	device := theDevice(1, 3)
	for _, tt := range []struct {
		path  string
		flags int
		fits  func(*unix.Stat_t) error
		want  error
	}{
		{at("file"), unix.O_RDWR, regular, nil},
		{at("file"), unix.O_RDWR | unix.O_NOFOLLOW, regular, nil},
		{at("good"), unix.O_RDONLY, regular, nil},
		{at("good"), unix.O_RDONLY | unix.O_NOFOLLOW, regular, ErrUnfit},
		{at("dir"), unix.O_RDONLY | unix.O_DIRECTORY, ofType(unix.S_IFDIR, "directory"), nil},
		{at("fifo"), unix.O_RDONLY, regular, ErrUnfit},
		{at("fifo"), unix.O_WRONLY | unix.O_NOFOLLOW, regular, ErrUnfit},
		{at("tofifo"), unix.O_RDONLY, regular, ErrUnfit},
		{at("dir"), unix.O_RDONLY, regular, ErrUnfit},
		{at("magic"), unix.O_RDONLY, regular, unix.ELOOP},
		{at("magic"), unix.O_PATH, whatever, unix.ELOOP},
		{at("loop"), unix.O_RDONLY, regular, unix.ELOOP},
		{at("none"), unix.O_RDONLY, regular, unix.ENOENT},
		{at("file"), unix.O_RDWR, device, ErrUnfit},
		{"/dev/null", unix.O_RDWR, device, nil},
		{"/dev/zero", unix.O_RDWR, device, ErrUnfit},
		{"/dev/zero", unix.O_RDONLY, regular, ErrUnfit},
		{at("tofifo"), unix.O_PATH | unix.O_NOFOLLOW, whatever, nil},
	} {
		done := time.AfterFunc(10*time.Second, func() { panic(tt.path + " keeps us waiting") })
		f, err := testRestorer(t).reopen.open(tt.path, tt.flags, tt.fits)
		done.Stop()
		if !errors.Is(err, tt.want) {
			t.Errorf("%s, flags %#x: %v, want %v", tt.path, tt.flags, err, tt.want)
		}
		if err != nil {
			continue
		}
		now, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		const shown = unix.O_ACCMODE | unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_DIRECTORY | unix.O_PATH
		if err != nil || now&shown != tt.flags&shown {
			t.Errorf("%s: flags %#x became %#x, %v", tt.path, tt.flags, now, err)
		}
		f.Close()
	}
}

// TestReopenRace swaps a file and a FIFO for as long as it is opened: what comes is always the file.
func TestReopenRace(t *testing.T) {
	dir := t.TempDir()
	path, other := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), unix.Mkfifo(other, 0o600)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
			}
		}
	}()
	r, opened, refused := testRestorer(t), 0, 0
	for n := 0; n < 3000 || opened == 0 && n < 1e6; n++ {
		f, err := r.reopen.open(path, unix.O_RDONLY, ofType(unix.S_IFREG, "regular file"))
		if errors.Is(err, ErrUnfit) {
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
			t.Fatalf("opened %v, %v", info.Mode(), err)
		}
		opened++
		f.Close()
	}
	close(stop)
	<-stopped
	t.Logf("opened %d, refused %d", opened, refused)
}

// TestReopenLink makes another name for a file by its descriptor.
func TestReopenLink(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	file, err := os.Create(filepath.Join(dir.Name(), "one"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	o, err := newReopener()
	if err != nil {
		t.Fatal(err)
	}
	defer o.close()
	if err := o.link(file, int(dir.Fd()), "two"); err != nil {
		t.Fatal(err)
	}
	one, err := os.Stat(filepath.Join(dir.Name(), "one"))
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.Stat(filepath.Join(dir.Name(), "two"))
	if err != nil || !os.SameFile(one, two) {
		t.Errorf("it is another file: %v", err)
	}
}
