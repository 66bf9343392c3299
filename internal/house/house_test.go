// Package house has the tests of the repository's own order: who imports whom,
// how large a file may be, and that each kernel object has its file everywhere.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/rethaw/rethaw/"
)

// source is one Go file of the repository.
type source struct {
	path, dir string
	test      bool
	lines     int
	file      *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, path, b, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		all = append(all, source{
			path: rel, dir: filepath.Dir(rel), test: strings.HasSuffix(rel, "_test.go"),
			lines: strings.Count(string(b), "\n"), file: f,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// mayImport says which packages of the repository a package may import, besides
// internal/. The way is one: cmd, hook -> plugin -> checkpoint, restore -> image
// -> specs.
var mayImport = map[string][]string{
	"cmd":        {"hook", "plugin", "checkpoint", "restore", "image", "specs"},
	"hook":       {"plugin", "checkpoint", "restore", "image", "specs"},
	"plugin":     {"plugin", "checkpoint", "restore", "image", "specs"},
	"checkpoint": {"image", "specs"},
	"restore":    {"image", "specs"},
	"image":      {"specs"},
	"specs":      {},
	"internal":   {"specs"},
	"e2e":        {"e2e", "specs", "image"},
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		top, _, _ := strings.Cut(s.dir, "/")
		allowed, known := mayImport[top]
		if !known {
			t.Errorf("%s: package outside the house", s.path)
			continue
		}
		if s.test {
			continue
		}
		for _, imp := range s.file.Imports {
			path, _ := strconv.Unquote(imp.Path.Value)
			own, ours := strings.CutPrefix(path, module)
			if !ours {
				if top == "specs" && strings.Contains(path, ".") {
					t.Errorf("%s imports %s: specs uses the standard library only", s.path, path)
				}
				continue
			}
			to, _, _ := strings.Cut(own, "/")
			if to == "internal" && top != "specs" || slices.Contains(allowed, to) {
				continue
			}
			t.Errorf("%s imports %s: imports run from cmd and hook over plugin, checkpoint, restore and image to specs", s.path, path)
		}
	}
}

func TestEveryPackageSaysHowItWorks(t *testing.T) {
	documented := map[string]bool{}
	dirs := map[string]bool{}
	for _, s := range sources(t) {
		if s.test && s.dir != "e2e" && s.dir != "internal/house" {
			continue
		}
		dirs[s.dir] = true
		if s.file.Doc != nil && len(s.file.Doc.Text()) > 60 {
			documented[s.dir] = true
		}
	}
	for dir := range dirs {
		if !documented[dir] {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

func TestFilesFitInAHead(t *testing.T) {
	var sizes []int
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		sizes = append(sizes, s.lines)
		if s.lines > 400 {
			t.Errorf("%s has %d lines: do two things live in it?", s.path, s.lines)
		}
	}
	sort.Ints(sizes)
	if median := sizes[len(sizes)/2]; median > 130 {
		t.Errorf("the median of all files is %d lines, want near 100", median)
	}
}

// programs are the test programs of objects whose names differ from their
// file's.
var programs = map[string][]string{
	"file": {"regular", "deleted", "device"}, "fs": {"identity"}, "inetsocket": {"tcp", "tcpconn", "udp"},
	"sysv": {"sysvshm", "sysvsem", "sysvmsg"}, "task": {"tree", "zombie", "stopped", "orphan"},
	"terminal": {"pty", "stdio"}, "thread": {"threads", "registers", "credentials"},
}

// framing are the files of specs that describe no object.
var framing = []string{"specs.go", "types.go", "frame.go", "header.go", "validate.go"}

func TestObjectsHaveTheSameFiles(t *testing.T) {
	for _, s := range sources(t) {
		name := filepath.Base(s.path)
		if s.dir != "specs" || s.test || slices.Contains(framing, name) {
			continue
		}
		object := strings.TrimSuffix(name, ".go")
		wanted := []string{"checkpoint/" + name, "restore/" + name}
		if object == "file" {
			wanted = []string{"checkpoint/regular.go", "restore/regular.go"}
		}
		for _, p := range append(programs[object], object) {
			if p == object && programs[object] != nil {
				continue
			}
			wanted = append(wanted, "e2e/programs/"+p+".c")
		}
		for _, path := range wanted {
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("specs/%s describes an object, %s does not exist", name, path)
			}
		}
	}
}

func TestModuleIsPlain(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "\nreplace ") {
		t.Error("go.mod replaces a module")
	}
}
