//go:build amd64

package fault

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"strings"
)

// symbols name the functions of a Go binary, stripped or not.
type symbols struct {
	table *gosym.Table
	// chance tells, of addresses that were looked up, whether they are there by chance.
	chance map[uint64]bool
}

func readSymbols(path string) (*symbols, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines, text := f.Section(".gopclntab"), f.Section(".text")
	if lines == nil || text == nil {
		return nil, fmt.Errorf("%s: not a Go program", path)
	}
	data, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, textStart(f, text.Addr)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &symbols{table, map[uint64]bool{}}, nil
}

// textStart is where Go's own code begins: behind that of C, in a program that has some and that is
// not stripped.
func textStart(f *elf.File, start uint64) uint64 {
	all, err := f.Symbols()
	if err != nil {
		return start
	}
	for _, s := range all {
		if s.Name == "runtime.text" {
			return s.Value
		}
	}
	return start
}

func (s *symbols) name(pc uint64) string {
	if f := s.table.PCToFunc(pc); f != nil {
		return f.Name
	}
	return ""
}

// steady leaves out of a stack what differs from run to run: how a goroutine came to its thread
// depends on which one it was at first.
func (s *symbols) steady(stack []uint64) []uint64 {
	kept := stack[:0]
	for _, pc := range stack {
		chance, known := s.chance[pc]
		if !known {
			name := s.name(pc)
			chance = strings.Contains(name, "internal/osthread.") || strings.Contains(name, ".gowrap")
			s.chance[pc] = chance
		}
		if !chance {
			kept = append(kept, pc)
		}
	}
	return kept
}

// gates are the functions whose calls are made for somebody else.
var gates = []string{"internal/runtime/syscall", "syscall.", "internal/syscall/", "golang.org/x/sys/unix."}

// explain tells whether a call was made by the program rather than by the runtime, and by which
// of its functions.
func (s *symbols) explain(stack []uint64) (own bool, where []string) {
	gated, decided := false, false
	for _, pc := range stack {
		name := s.name(pc)
		if name == "" {
			continue
		}
		gate := false
		for _, prefix := range gates {
			gate = gate || strings.HasPrefix(name, prefix)
		}
		if gate {
			gated = true
			continue
		}
		if !decided {
			// The poller of the runtime goes through the gate too.
			decided, own = true, gated && !strings.HasPrefix(name, "runtime.") && !strings.HasPrefix(name, "internal/runtime/")
		}
		if short, ours := strings.CutPrefix(name, "github.com/rethaw/rethaw/"); ours {
			where = append(where, short)
		} else if len(where) == 0 {
			where = append(where, name)
		}
	}
	return own, where
}
