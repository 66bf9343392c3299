package e2e

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// TestJava: the JVM with many threads, its compilers and its collector.
func TestJava(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		java, err := exec.LookPath("java")
		if err != nil {
			t.Fatalf("%v (install openjdk-17-jdk-headless)", err)
		}
		if java, err = filepath.EvalSymlinks(java); err != nil {
			t.Fatal(err)
		}
		classes := theRig(t).JavaProgram(t, "Server")
		c := theRig(t).New(t, rig.Config{
			Args:    []string{java, "-Xmx128m", "-XX:+UseG1GC", "-cp", "/programs", "Server"},
			HostUsr: true, Stdio: kind,
		})
		found, err := filepath.Glob(filepath.Join(classes, "*.class"))
		if err != nil || len(found) == 0 {
			t.Fatalf("no classes in %s: %v", classes, err)
		}
		for _, class := range found {
			c.AddProgram(class, filepath.Base(class))
		}
		c.Run()
		s := serve(t, c)
		s.restless = true // compilers and collector never rest
		// The counters that tools read are in a file that is mapped, and locked; they go on all the time.
		s.save = []string{"--file-locks"}
		s.options.Ignore = map[string]bool{"tmpfs content": true, "tmpfs modified": true}
		return s
	})
}
