package house

import (
	"go/ast"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// parses is how functions are named that make sense of text or bytes from elsewhere.
var parses = regexp.MustCompile(`^([pP]arse|Split|unmarshal)`)

// trivial are those whose input a person types: they are no decoders.
var trivial = []string{"image.ParseCodec"}

// TestEveryParserIsFuzzed: a function that parses bytes or text is called by a fuzz
// target of its package, directly or by way of others.
func TestEveryParserIsFuzzed(t *testing.T) {
	type pack struct {
		// calls are the names that stand in each function.
		calls   map[string][]string
		parsers []string
		fuzzed  []string
	}
	packs := map[string]*pack{}
	for _, s := range sources(t) {
		p := packs[s.dir]
		if p == nil {
			p = &pack{calls: map[string][]string{}}
			packs[s.dir] = p
		}
		for _, decl := range s.file.Decls {
			for name, in := range tables(decl) {
				p.calls[name] = append(p.calls[name], in...)
			}
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			name := f.Name.Name
			p.calls[name] = append(p.calls[name], names(f.Body)...)
			switch {
			case s.test && strings.HasPrefix(name, "Fuzz"):
				p.fuzzed = append(p.fuzzed, name)
			case !s.test && parses.MatchString(name) && takesBytes(f):
				p.parsers = append(p.parsers, name)
			}
		}
	}
	for dir, p := range packs {
		if strings.HasPrefix(dir, "e2e") {
			continue
		}
		reached := map[string]bool{}
		for todo := p.fuzzed; len(todo) > 0; {
			name := todo[0]
			todo = todo[1:]
			if !reached[name] {
				reached[name] = true
				todo = append(todo, p.calls[name]...)
			}
		}
		for _, name := range p.parsers {
			if !reached[name] && !slices.Contains(trivial, filepath.Base(dir)+"."+name) {
				t.Errorf("%s: %s is called by no fuzz target", dir, name)
			}
		}
	}
}

// tables are the names in the values of package-level variables: parsers stand in
// tables by their keys.
func tables(decl ast.Decl) map[string][]string {
	found := map[string][]string{}
	general, ok := decl.(*ast.GenDecl)
	if !ok {
		return nil
	}
	for _, spec := range general.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, v := range value.Values {
			found[value.Names[min(i, len(value.Names)-1)].Name] = names(v)
		}
	}
	return found
}

// names are all names in a function.
func names(body ast.Node) []string {
	var all []string
	ast.Inspect(body, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			all = append(all, id.Name)
		}
		return true
	})
	return all
}

// takesBytes tells whether a function has bytes or a string as its first parameter.
func takesBytes(f *ast.FuncDecl) bool {
	if f.Type.Params == nil || len(f.Type.Params.List) == 0 {
		return false
	}
	switch typ := f.Type.Params.List[0].Type.(type) {
	case *ast.Ident:
		return typ.Name == "string"
	case *ast.ArrayType:
		elem, ok := typ.Elt.(*ast.Ident)
		return ok && elem.Name == "byte" && typ.Len == nil
	}
	return false
}
