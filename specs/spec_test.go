package specs

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the lists of keys in SPEC.md anew")

// begin and end stand around the part of SPEC.md that is made of the sources.
const (
	begin = "<!-- begin: go test ./specs -update -->\n"
	end   = "<!-- end -->\n"
)

// structure is one struct type of the package as its source tells it.
type structure struct {
	name   string
	doc    string
	fields []field
}

type field struct {
	key  int
	name string
	kind string
	doc  string
}

// source reads the package's own structs.
func source(t *testing.T) map[string]structure {
	t.Helper()
	set := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]structure)
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				typed := spec.(*ast.TypeSpec)
				doc := typed.Doc
				if doc == nil {
					doc = general.Doc
				}
				if body, ok := typed.Type.(*ast.StructType); ok {
					found[typed.Name.Name] = structure{name: typed.Name.Name, doc: line(doc), fields: fields(t, typed.Name.Name, body)}
				}
			}
		}
	}
	return found
}

// fields reads the fields of one struct. A comment belongs to the field below it.
func fields(t *testing.T, owner string, body *ast.StructType) (list []field) {
	for _, f := range body.Fields.List {
		if f.Tag == nil {
			t.Errorf("a field of %s has no key", owner)
			continue
		}
		tag, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(reflect.StructTag(tag).Get("cbor"), ",")
		key, err := strconv.Atoi(parts[0])
		if err != nil || key < 1 || !slices.Equal(parts[1:], []string{"keyasint", "omitempty"}) {
			t.Errorf("a field of %s has the tag %q", owner, tag)
		}
		kind := kindOf(f.Type)
		name := kind
		if len(f.Names) > 0 {
			name = f.Names[0].Name
		}
		if len(f.Names) > 1 {
			t.Errorf("%s.%s shares its key", owner, name)
		}
		list = append(list, field{key: key, name: name, kind: kind, doc: line(f.Doc)})
	}
	return list
}

// kindOf says in the words of SPEC.md what stands for a Go type.
func kindOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		switch {
		case e.Name == "string", e.Name == "Siginfo":
			return "bytes"
		case strings.HasPrefix(e.Name, "uint"):
			return "u" + strings.TrimPrefix(e.Name, "uint")
		case e.Name == "int":
			return "i64"
		case strings.HasPrefix(e.Name, "int"):
			return "i" + strings.TrimPrefix(e.Name, "int")
		}
		return e.Name
	case *ast.StarExpr:
		return kindOf(e.X)
	case *ast.ArrayType:
		element := kindOf(e.Elt)
		if ident, ok := e.Elt.(*ast.Ident); ok && ident.Name == "byte" {
			return "bytes"
		}
		if length, ok := e.Len.(*ast.BasicLit); ok {
			return "[" + element + "; " + length.Value + "]"
		}
		return "[" + element + "]"
	}
	return fmt.Sprintf("%T", e)
}

// line is a comment as one line of a table.
func line(doc *ast.CommentGroup) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(doc.Text()), " "), "|", `\|`)
}

// tables writes the list of all types and their keys.
func tables(t *testing.T) string {
	structs := source(t)
	var b strings.Builder
	records := append(Types(), TypeMembers)
	slices.Sort(records)
	named := make(map[string]bool)
	for _, kind := range records {
		var r Record = &Members{}
		if kind != TypeMembers {
			var err error
			if r, err = New(kind); err != nil {
				t.Fatal(err)
			}
		}
		if r.RecordType() != kind {
			t.Errorf("type %d makes a %T, which says that it is %d", kind, r, r.RecordType())
		}
		name := reflect.TypeOf(r).Elem().Name()
		s, ok := structs[name]
		if !ok {
			t.Errorf("%s is no struct of this package", name)
		}
		named[name] = true
		s.write(t, &b, fmt.Sprintf("%s (%d)", name, kind))
	}
	b.WriteString("## Parts of records\n\n")
	var parts []string
	for name := range structs {
		if !named[name] {
			parts = append(parts, name)
		}
	}
	slices.Sort(parts)
	for _, name := range parts {
		structs[name].write(t, &b, name)
	}
	return b.String()
}

func (s structure) write(t *testing.T, b *strings.Builder, heading string) {
	fmt.Fprintf(b, "### %s\n\n%s\n\n| key | field | value | meaning |\n|---|---|---|---|\n", heading, s.doc)
	if s.doc == "" {
		t.Errorf("%s has no comment", s.name)
	}
	seen := make(map[int]bool)
	for _, f := range s.fields {
		if seen[f.key] {
			t.Errorf("%s has the key %d twice", s.name, f.key)
		}
		seen[f.key] = true
		fmt.Fprintf(b, "| %d | %s | %s | %s |\n", f.key, f.name, f.kind, f.doc)
	}
	b.WriteByte('\n')
}

// TestSpecNamesEverything: SPEC.md lists each type with each of its keys, as the
// sources have them.
func TestSpecNamesEverything(t *testing.T) {
	spec, err := os.ReadFile("SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	from, to := bytes.Index(spec, []byte(begin)), bytes.Index(spec, []byte(end))
	if from < 0 || to < from {
		t.Fatal("SPEC.md has no place for the lists")
	}
	from += len(begin)
	want := tables(t)
	if *update {
		spec = slices.Concat(spec[:from], []byte("\n"+want), spec[to:])
		if err := os.WriteFile("SPEC.md", spec, fs.FileMode(0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := strings.TrimPrefix(string(spec[from:to]), "\n"); got != want {
		t.Error("SPEC.md is not that of the sources: go test ./specs -update")
	}
	for _, name := range []string{"TypeMembers", "TypeIndex", "TypeDigest", Magic[1:5], PartialSuffix, ImageFile} {
		if !bytes.Contains(spec, []byte(name)) {
			t.Errorf("SPEC.md does not name %s", name)
		}
	}
}

// TestTypesAreInTheirRanges keeps the numbers where the comment above them says.
func TestTypesAreInTheirRanges(t *testing.T) {
	for _, kind := range Types() {
		r, err := New(kind)
		if err != nil {
			t.Fatal(err)
		}
		_, file := r.(File)
		switch {
		case kind == TypeHeader, kind >= 16 && kind < 64 && !file, kind >= 64 && kind < 128, kind >= 128 && kind < 192 && !file:
		default:
			t.Errorf("type %d, %T, is out of its range", kind, r)
		}
	}
	for _, kind := range []Type{0, TypeMembers, TypeIndex, TypeDigest, 9999} {
		if _, err := New(kind); err == nil {
			t.Errorf("type %d can be put", kind)
		}
	}
}
