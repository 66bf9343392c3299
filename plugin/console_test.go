package plugin

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/console"
)

// TestConsole runs a container with a terminal in the foreground, on a pty that
// stands for ours.
func TestConsole(t *testing.T) {
	e := testRuntime(t, "runc")
	bundle := testBundle(t, "read x; echo got:$x; stty size; exit 5")
	config, err := fullConfig(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config.Process.Terminal = true
	for _, name := range []string{"stty", "echo"} {
		if err := os.Symlink("sh", filepath.Join(bundle, "rootfs/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	config.Mounts = append(config.Mounts, devpts())
	writeConfig(t, bundle, config)

	ours, path, err := console.NewPty()
	if err != nil {
		t.Skip(err)
	}
	defer ours.Close()
	if err := ours.Resize(console.WinSize{Height: 33, Width: 77}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()

	if err := adopt(true); err != nil {
		t.Fatal(err)
	}
	defer adopt(false)
	spec := Spec{Bundle: bundle, Stdin: slave, Stdout: slave, Stderr: slave}
	s := new(Session)
	if s.stdio, err = prepareStdio(true, false, &spec); err != nil {
		t.Fatal(err)
	}
	fresh := testCreate(t, e, spec)
	s.container, s.init = fresh, process{pid: fresh.Candidate().Pid}
	if err := s.stdio.attach(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := fresh.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.Write([]byte("hello\r")); err != nil {
		t.Fatal(err)
	}
	seen := make(chan []byte)
	go func() {
		var all []byte
		buffer := make([]byte, 256)
		for !bytes.Contains(all, []byte("33 77")) {
			n, err := ours.Read(buffer)
			if err != nil {
				break
			}
			all = append(all, buffer[:n]...)
		}
		seen <- all
	}()
	status, err := s.Wait(context.Background(), nil)
	if status != 5 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	select {
	case all := <-seen:
		if !bytes.Contains(all, []byte("got:hello")) {
			t.Errorf("saw %q", all)
		}
	case <-time.After(5 * time.Second):
		t.Error("the output did not come")
	}
	if _, err := os.Stat(spec.ConsoleSocket); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestPrepareStdio(t *testing.T) {
	tests := []struct {
		name             string
		terminal, detach bool
		socket           string
		fails            bool
	}{
		{"plain", false, false, "", false},
		{"plain detached", false, true, "", false},
		{"plain with a socket", false, true, "/s", true},
		{"terminal detached", true, true, "", true},
		{"terminal detached with a socket", true, true, "/s", false},
		{"terminal with a socket", true, false, "/s", true},
		{"terminal without ours", true, false, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := prepareStdio(tt.terminal, tt.detach, &Spec{ConsoleSocket: tt.socket})
			if (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			if err == nil {
				s.close()
			}
		})
	}
}
