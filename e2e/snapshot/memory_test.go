package snapshot

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// smaps of a small program: two neighbours that differ in nothing, a file in two
// pieces, a name, and a guard that differs in its flags.
const smapsText = `00400000-00401000 r--p 00000000 fe:00 1234                               /programs/a b
Size:                  4 kB
VmFlags: rd mr mw me sd
00401000-00402000 r--p 00001000 fe:00 1234                               /programs/a b
VmFlags: rd mr mw me
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
VmFlags: rd wr mr mw me ac
7f0000001000-7f0000003000 rw-p 00000000 00:00 0
VmFlags: rd wr mr mw me ac
7f0000003000-7f0000004000 rw-p 00000000 00:00 0
VmFlags: rd wr mr mw me ac nh
7f0000004000-7f0000005000 rw-p 00000000 00:00 0                          [anon:heap of x]
VmFlags: rd wr mr mw me ac nh
7f0000005000-7f0000006000 rw-s 00000000 fe:00 99                         /dev/zero (deleted)
VmFlags: rd wr sh mr mw me ms
`

func TestMemory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "smaps"), []byte(smapsText), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := newLook(1, Options{}).memory(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"400000-402000 r--p 0 /programs/a b = inode 1 [rd mr mw me]",
		"7f0000000000-7f0000003000 rw-p 0  [rd wr mr mw me ac]",
		"7f0000003000-7f0000004000 rw-p 0  [rd wr mr mw me ac nh]",
		"7f0000004000-7f0000005000 rw-p 0 [anon:heap of x] [rd wr mr mw me ac nh]",
		"7f0000005000-7f0000006000 rw-s 0 /dev/zero (deleted) = inode 2 [rd wr sh mr mw me ms]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMemoryRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no fields":   "garbage\n",
		"no address":  "x-y r--p 00000000 fe:00 1234 /a\n",
		"no device":   "00400000-00401000 r--p 00000000 what 1234 /a\n",
		"half a line": "00400000-00401000 r--p\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "smaps"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := newLook(1, Options{}).memory(dir); err == nil {
				t.Errorf("read as %q", got)
			}
		})
	}
}
