package tty

import "golang.org/x/sys/unix"

// keys are characters with a meaning of canonical mode (termios(3)) that are
// used to type lines exactly as they were read.
type keys struct {
	// next takes its meaning from the character after it, eof ends a line
	// without being part of it.
	next, eof byte
	// ends are the characters that end a line and are part of it.
	ends []byte
}

// chooseKeys takes as ends those that the terminal has, and for the others
// characters that are none of these.
func chooseKeys(t *unix.Termios) keys {
	k := keys{ends: []byte{'\n'}}
	if c := t.Cc[unix.VEOL]; c != 0 {
		k.ends = append(k.ends, c)
	}
	if c := t.Cc[unix.VEOL2]; c != 0 && t.Lflag&unix.IEXTEN != 0 {
		k.ends = append(k.ends, c)
	}
	for c := byte(1); k.eof == 0; c++ {
		switch {
		case k.isEnd(c):
		case k.next == 0:
			k.next = c
		default:
			k.eof = c
		}
	}
	return k
}

func (k *keys) isEnd(c byte) bool {
	for _, e := range k.ends {
		if e == c {
			return true
		}
	}
	return false
}

// apply gives a terminal these keys and no others.
func (k *keys) apply(t *unix.Termios) {
	for i := range t.Cc {
		t.Cc[i] = 0
	}
	t.Lflag |= unix.IEXTEN
	t.Cc[unix.VLNEXT], t.Cc[unix.VEOF] = k.next, k.eof
	for i, c := range k.ends[1:] {
		t.Cc[[]int{unix.VEOL, unix.VEOL2}[i]] = c
	}
}

// line gives what is to be typed for a line that was read.
func (k *keys) line(b []byte) []byte {
	if n := len(b); n > 0 && k.isEnd(b[n-1]) {
		return append(k.literal(b[:n-1]), b[n-1])
	}
	return append(k.literal(b), k.eof)
}

// literal has bytes typed without any meaning.
func (k *keys) literal(b []byte) []byte {
	var typed []byte
	for _, c := range b {
		typed = append(typed, k.next, c)
	}
	return typed
}
