package tty

import (
	"bytes"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Settings are those of a pair, as the structures of ioctl_tty(2).
type Settings struct {
	// Termios is struct termios2, Fixed marks the bits of struct termios that
	// may not be changed (TIOCGLCKTRMIOS), Size is struct winsize.
	Termios, Fixed, Size []byte
}

// fixedSize is that of the kernel's struct termios, which has no speeds.
const fixedSize = int(unsafe.Offsetof(unix.Termios{}.Ispeed))

// Get reads the settings from either end.
func Get(f *os.File) (Settings, error) {
	var s Settings
	t, err := termios(f)
	if err != nil {
		return s, err
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return s, fmt.Errorf("size of terminal: %w", err)
	}
	var fixed unix.Termios
	if err := ioctl(f, unix.TIOCGLCKTRMIOS, unsafe.Pointer(&fixed)); err != nil {
		return s, fmt.Errorf("fixed settings of terminal: %w", err)
	}
	s.Termios, s.Size = encode(t), encode(size)
	if b := encode(&fixed)[:fixedSize]; !bytes.Equal(b, make([]byte, fixedSize)) {
		s.Fixed = b
	}
	return s, nil
}

// Set sets everything but the size. What is fixed is fixed last.
func Set(f *os.File, s Settings) error {
	var t unix.Termios
	if err := decode(s.Termios, &t); err != nil {
		return fmt.Errorf("settings of terminal: %w", err)
	}
	if err := setTermios(f, &t); err != nil {
		return err
	}
	if len(s.Fixed) == 0 {
		return nil
	}
	var fixed unix.Termios
	if len(s.Fixed) != fixedSize {
		return fmt.Errorf("fixed settings of terminal: %d bytes", len(s.Fixed))
	}
	if err := decode(append(bytes.Clone(s.Fixed), make([]byte, 8)...), &fixed); err != nil {
		return err
	}
	if err := ioctl(f, unix.TIOCSLCKTRMIOS, unsafe.Pointer(&fixed)); err != nil {
		return fmt.Errorf("fix settings of terminal: %w", err)
	}
	return nil
}

// Size asks for struct winsize.
func Size(f *os.File) ([]byte, error) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return nil, fmt.Errorf("size of terminal: %w", err)
	}
	return encode(size), nil
}

// SetSize sets struct winsize, at which the foreground group gets SIGWINCH if it
// is another one.
func SetSize(f *os.File, b []byte) error {
	var size unix.Winsize
	if err := decode(b, &size); err != nil {
		return fmt.Errorf("size of terminal: %w", err)
	}
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &size); err != nil {
		return fmt.Errorf("set size of terminal: %w", err)
	}
	return nil
}

func termios(f *os.File) (*unix.Termios, error) {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS2)
	if err != nil {
		return nil, fmt.Errorf("settings of terminal: %w", err)
	}
	return t, nil
}

func setTermios(f *os.File, t *unix.Termios) error {
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS2, t); err != nil {
		return fmt.Errorf("set settings of terminal: %w", err)
	}
	return nil
}

// canonical tells whether a terminal hands out lines.
func canonical(t *unix.Termios) bool {
	return t.Lflag&unix.ICANON != 0 && t.Lflag&unix.EXTPROC == 0
}

// quiet gives settings under which bytes pass as they are: nothing is
// translated, echoed or obeyed. A change of ICANON or EXTPROC would have the
// line discipline cut what waits anew (n_tty_set_termios), so these stay, unless
// raw is set.
func quiet(t *unix.Termios, raw bool) unix.Termios {
	q := *t
	q.Iflag &= unix.IUTF8
	q.Oflag &^= unix.OPOST
	q.Lflag &= unix.ICANON | unix.EXTPROC
	if raw {
		q.Lflag &^= unix.ICANON
	}
	if q.Lflag&unix.ICANON == 0 {
		q.Cc[unix.VMIN], q.Cc[unix.VTIME] = 0, 0
	}
	return q
}
