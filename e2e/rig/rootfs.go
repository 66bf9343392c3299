package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The users that the programs under test run as. Numbers are fixed, so that the
// data directories do not depend on what the host calls them.
const (
	PostgresID = 5432
	WWWDataID  = 33
)

var etcFiles = map[string]string{
	"passwd": "root:x:0:0:root:/root:/bin/sh\n" +
		"www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n" +
		"postgres:x:5432:5432:PostgreSQL:/data:/bin/sh\n" +
		"redis:x:6379:6379:redis:/data:/bin/sh\n" +
		"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
	"group":         "root:x:0:\ntty:x:5:\nwww-data:x:33:\npostgres:x:5432:\nredis:x:6379:\nnogroup:x:65534:\n",
	"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	"resolv.conf":   "",
}

// linkUsr makes the root of a merged-usr system, whose /usr is mounted later.
func linkUsr(dir string) error {
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// linkBusybox puts the host's static busybox into /bin, with a link for each
// command that it knows.
func linkBusybox(dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("busybox: %w (install busybox-static)", err)
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return fmt.Errorf("busybox --list: %w", err)
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "busybox"), text, 0o755); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		if name == "busybox" {
			continue
		}
		if err := os.Symlink("busybox", filepath.Join(bin, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"sbin"} {
		if err := os.Symlink("bin", filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"bin", "sbin"} {
		if err := os.Symlink("../bin", filepath.Join(dir, "usr", name)); err != nil {
			return err
		}
	}
	return nil
}
