package tty

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestKeys(t *testing.T) {
	for name, c := range map[string]struct {
		eol, eol2   byte
		iexten      bool
		line, typed string
	}{
		"line":             {line: "a\n", typed: "\x01a\n"},
		"end of file":      {line: "a", typed: "\x01a\x02"},
		"empty":            {line: "", typed: "\x02"},
		"another end":      {eol: 1, eol2: 2, iexten: true, line: "a\x02", typed: "\x03a\x02"},
		"eol2 means none":  {eol2: 2, line: "a\x02", typed: "\x01a\x01\x02\x02"},
		"newline in it":    {line: "a\nb\n", typed: "\x01a\x01\n\x01b\n"},
		"what we use":      {line: "\x01\x02\n", typed: "\x01\x01\x01\x02\n"},
		"end is a newline": {eol: '\n', line: "\n", typed: "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var s unix.Termios
			s.Cc[unix.VEOL], s.Cc[unix.VEOL2] = c.eol, c.eol2
			if c.iexten {
				s.Lflag |= unix.IEXTEN
			}
			k := chooseKeys(&s)
			if got := string(k.line([]byte(c.line))); got != c.typed {
				t.Errorf("%q is typed as %q, want %q", c.line, got, c.typed)
			}
		})
	}
}
