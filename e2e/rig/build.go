package rig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// buildRethaw builds the program under test, as make build does.
func (r *Rig) buildRethaw() (string, error) {
	out := filepath.Join(r.Dir, "rethaw")
	if prebuilt := os.Getenv("RETHAW_E2E_BINARY"); prebuilt != "" {
		return filepath.Abs(prebuilt)
	}
	return out, r.goBuild("./cmd/rethaw", out)
}

func (r *Rig) goBuild(pkg, out string) error {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	build.Dir = r.Source
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, said)
	}
	return nil
}

// GoProgram builds e2e/programs/NAME, a Go program, and returns the path of the
// binary. The go tool has a cache of its own.
func (r *Rig) GoProgram(t TB, name string) string {
	t.Helper()
	out := filepath.Join(r.Dir, name)
	must(t, r.goBuild("./e2e/programs/"+name, out), "build")
	return out
}

// CProgram compiles e2e/programs/NAME.c statically and returns the path of the
// binary, which is kept from run to run under the hash of its sources.
func (r *Rig) CProgram(t TB, name string) string {
	t.Helper()
	dir := filepath.Join(r.Source, "e2e", "programs")
	headers, err := filepath.Glob(filepath.Join(dir, "*.h"))
	must(t, err, "find headers")
	source := filepath.Join(dir, name+".c")
	bin := r.cached(t, name, append(headers, source), func(out string) *exec.Cmd {
		return exec.Command("gcc", "-static", "-O1", "-pthread", "-std=gnu11", "-Wall", "-Wno-unused-result", "-o", out, source, "-lm", "-lrt")
	})
	return bin
}

// JavaProgram compiles e2e/programs/NAME.java and returns the directory with the
// class files.
func (r *Rig) JavaProgram(t TB, name string) string {
	t.Helper()
	source := filepath.Join(r.Source, "e2e", "programs", name+".java")
	return r.cached(t, name, []string{source}, func(out string) *exec.Cmd {
		return exec.Command("javac", "-d", out, source)
	})
}

// cached runs the compiler unless its result for these sources is there. The
// result appears by rename, so that two tests may compile at a time.
func (r *Rig) cached(t TB, name string, sources []string, compile func(out string) *exec.Cmd) string {
	t.Helper()
	slices.Sort(sources)
	sum := sha256.New()
	for _, source := range sources {
		text, err := os.ReadFile(source)
		must(t, err, "read source")
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(source), len(text), text)
	}
	result := filepath.Join(r.Cache, name+"-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(result); err == nil {
		return result
	}
	work, err := os.MkdirTemp(r.Dir, "build")
	must(t, err, "make build directory")
	out := filepath.Join(work, name)
	command := compile(out)
	if said, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, said)
	}
	if err := os.Rename(out, result); err != nil && !os.IsExist(err) {
		// Another test was faster with a directory, which rename does not replace.
		if _, there := os.Stat(result); there != nil {
			must(t, err, "keep "+name)
		}
	}
	return result
}
