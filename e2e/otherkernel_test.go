package e2e

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
)

// otherKernel writes the image of a program once more as that of a kernel with another vdso: one whose last
// byte, of which nobody makes anything, is another.
func otherKernel(t *testing.T, p *rig.Program) {
	t.Helper()
	forged := p.Image + ".forged"
	forge(t, p.Image, forged, always(func(h *specs.Header) {
		if len(h.VDSO) == 0 {
			t.Skip("the kernel has no vdso")
		}
		h.BootID, h.Release = "00000000-0000-4000-8000-000000000000", "2.6.39"
		h.VDSO = bytes.Clone(h.VDSO)
		h.VDSO[len(h.VDSO)-1]++
	}))
	if err := os.RemoveAll(p.Image); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(forged, p.Image); err != nil {
		t.Fatal(err)
	}
}

// vdsoOf is where the vdso of a process is, and its contents.
func vdsoOf(t *testing.T, pid int) (at uint64, code []byte) {
	t.Helper()
	areas, err := procfs.ReadMaps(pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range areas {
		if v.Path == "[vdso]" {
			return v.Start, memoryOf(t, pid, v.Start, v.Size())
		}
	}
	t.Fatal("the process has no vdso")
	return 0, nil
}

func memoryOf(t *testing.T, pid int, at, size uint64) []byte {
	t.Helper()
	mem, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	b := make([]byte, size)
	if _, err := mem.ReadAt(b, int64(at)); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOtherKernel: programs that were saved under a kernel with another vdso call the functions of ours by the addresses of
// the old ones, and so they do after the next such restore, and under one kernel all the while.
func TestOtherKernel(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	for _, name := range []string{"clocks", "tree", "threads", "fifty"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := needs[name]
			if name == "clocks" {
				config.Env = append(config.Env, "CLOCKS_BUSY=1")
			}
			p := startProgram(t, name, config)
			old, code := vdsoOf(t, p.Pid())
			for round := range 4 {
				p.Checkpoint()
				p.AssertGone()
				if round != 2 { // one of them under the kernel that it was
					otherKernel(t, p)
				}
				p.Restore()
				now, same := vdsoOf(t, p.Pid())
				if !bytes.Equal(code, same) {
					t.Error("the vdso of the restored process is not the kernel's")
				}
				if name == "clocks" {
					if now == old {
						t.Error("the vdso is where the old one was")
					}
					wantJumps(t, p.Pid(), old, code)
				}
				p.Check("under another kernel")
			}
		})
	}
}

// wantJumps wants the places in which the functions of the old vdso differ from what they were to be jumps, as package
// vdso makes them.
func wantJumps(t *testing.T, pid int, at uint64, code []byte) {
	t.Helper()
	now := memoryOf(t, pid, at, uint64(len(code)))
	jumps := 0
	for i := 0; i+13 < len(now); i++ {
		if now[i] == code[i] {
			continue
		}
		if now[i] != 0x49 || now[i+1] != 0xbb || now[i+10] != 0x41 || now[i+11] != 0xff || now[i+12] != 0xe3 {
			if i < len(now)-16 {
				t.Fatalf("at %#x of the old vdso stand % x", i, now[i:i+13])
			}
			return
		}
		target := binary.LittleEndian.Uint64(now[i+2:])
		if head := memoryOf(t, pid, target, 8); !bytes.Equal(head, code[i:i+8]) && !bytes.Equal(head[:2], []byte{0x49, 0xbb}) {
			t.Errorf("the jump at %#x leads to code that begins with % x", i, head)
		}
		jumps++
		i += 12
	}
	if jumps < 4 {
		t.Errorf("%d jumps in the old vdso", jumps)
	}
}

// TestOldImage: an image without a vdso is restored under the kernel that made it alone.
func TestOldImage(t *testing.T) {
	t.Parallel()
	if dryRun() {
		t.Skip("a dry run makes no checkpoints")
	}
	p := startProgram(t, "clocks", rig.Config{})
	p.Checkpoint()
	p.AssertGone()
	forged := filepath.Join(t.TempDir(), "image")
	forge(t, p.Image, forged, always(func(h *specs.Header) { h.BootID, h.VDSO, h.Release = "elsewhere", nil, "2.6.39" }))
	refused(t, p.TryRethaw("restore", "--detach", "--bundle", p.Bundle, "--image", forged, p.ID), exitUnsupported, "2.6.39")
	p.AssertGone()
	img, err := image.Open(p.Image)
	if err != nil {
		t.Fatal(err)
	}
	if len(img.Header().VDSO) == 0 {
		t.Error("the image has no vdso")
	}
	img.Close()
	p.Restore()
	p.Check("with its own image")
}
