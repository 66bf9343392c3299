package procfs

import (
	"strings"
	"testing"
)

func TestParseNetUnix(t *testing.T) {
	got, err := ParseNetUnix(sample(t, "unix"))
	if err != nil {
		t.Fatal(err)
	}
	want := []UnixSocket{
		{RefCount: 3, Type: 1, State: 3, Inode: 11918},
		{RefCount: 3, Type: 1, State: 3, Inode: 1606},
		{RefCount: 2, Type: 2, State: 1, Inode: 11921, Path: "/srv/app/so ck", HasPath: true},
		{RefCount: 3, Type: 1, State: 3, Inode: 1607},
		{RefCount: 3, Type: 1, State: 3, Inode: 11919},
		{RefCount: 2, Flags: 0x10000, Type: 1, State: 1, Inode: 11920, Path: "@abs@tract x\n y", HasPath: true},
	}
	if len(got) != len(want) {
		t.Fatalf("%d sockets: %+v", len(got), got)
	}
	for i, w := range want {
		if got[i] != w {
			t.Errorf("got %+v, want %+v", got[i], w)
		}
	}
	if !got[5].Listening() || got[0].Listening() {
		t.Error("listening is mistaken")
	}

	const head = "Num       RefCount Protocol Flags    Type St Inode Path\n"
	const line = "0000000000000000: 00000002 00000000 00010000 0001 01 11920"
	for text, want := range map[string]string{
		line + " @\n":              "@",
		line + " @x\n\n":           "@x\n",
		line + " @x\n\n\ny\n":      "@x\n\n\ny",
		line + "  @ \n":            " @ ",
		line + " @a\nb\n" + line:   "@a\nb",
		line + " /p\n" + line[:30]: "/p\n" + line[:30],
	} {
		if got, err := ParseNetUnix([]byte(head + text)); err != nil || got[0].Path != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x\n", head + "x\n", head + line + "\nx\n", head + strings.Replace(line, "0001 01", "0001 zz", 1)} {
		if got, err := ParseNetUnix([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, got)
		}
	}
}

func FuzzParseNetUnix(f *testing.F) {
	f.Add(sample(f, "unix"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseNetUnix(b) })
}
