package plugin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func testFifo(t *testing.T, pid int) execFifo {
	t.Helper()
	path := filepath.Join(t.TempDir(), execFifoName)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return execFifo{path: path, init: process{pid: pid}}
}

func TestExecFifo(t *testing.T) {
	for name, tc := range map[string]struct {
		text  string
		later time.Duration
		fails bool
	}{
		"at once":       {text: "0"},
		"later":         {text: "0", later: 3 * initLook / 2},
		"a silent init": {text: "", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := testFifo(t, os.Getpid())
			go func() {
				time.Sleep(tc.later)
				writer, err := os.OpenFile(f.path, os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := writer.WriteString(tc.text); err != nil {
					t.Error(err)
				}
				writer.Close()
			}()
			err := f.pass(context.Background())
			if (err != nil) != tc.fails {
				t.Errorf("pass returned %v", err)
			}
			if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) == tc.fails {
				t.Errorf("the FIFO afterwards: %v", err)
			}
		})
	}
}

// TestExecFifoInVain: an init that has ended, and a restore that is cancelled, end the wait.
func TestExecFifoInVain(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	if err := testFifo(t, ended.Process.Pid).pass(context.Background()); !errors.Is(err, errInitEnded) {
		t.Errorf("with an init that has ended pass returned %v", err)
	}
	cause := errors.New("cancelled")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if err := testFifo(t, os.Getpid()).pass(ctx); !errors.Is(err, cause) {
		t.Errorf("when it is cancelled pass returned %v", err)
	}
	gone := testFifo(t, os.Getpid())
	if err := os.Remove(gone.path); err != nil {
		t.Fatal(err)
	}
	if err := gone.pass(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a FIFO pass returned %v", err)
	}
}
