package procfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestParseSmaps(t *testing.T) {
	areas, err := ParseSmaps(sample(t, "smaps"))
	if err != nil {
		t.Fatal(err)
	}
	maps, err := ParseMaps(sample(t, "maps"))
	if err != nil {
		t.Fatal(err)
	}
	if len(areas) != len(maps) || len(areas) != strings.Count(string(sample(t, "smaps")), "VmFlags") {
		t.Fatalf("%d areas in smaps, %d in maps", len(areas), len(maps))
	}
	for i, v := range areas {
		m := maps[i]
		if v.Start != m.Start || v.End != m.End || v.Perms != m.Perms || v.Path != m.Path || v.Deleted != m.Deleted {
			t.Errorf("smaps %+v\nmaps  %+v", v, m)
		}
		if v.KernelPageSize != 4096 || len(v.VmFlags) == 0 {
			t.Errorf("%x: page size %d, flags %v", v.Start, v.KernelPageSize, v.VmFlags)
		}
		if m.VmFlags != nil || m.Rss != 0 {
			t.Errorf("maps has counters: %+v", m)
		}
	}
	find := func(what string, is func(v *VMA) bool) *VMA {
		t.Helper()
		i := slices.IndexFunc(areas, func(v VMA) bool { return is(&v) })
		if i < 0 {
			t.Fatalf("no area: %s", what)
		}
		return &areas[i]
	}
	memfd := find("memfd", func(v *VMA) bool { return v.Shared && v.Inode == 25 })
	if memfd.Path != "/memfd:my memfd\n(x)" || !memfd.Deleted || !memfd.Escaped || memfd.Major != 0 || memfd.Minor != 1 || memfd.Rss != 4096 {
		t.Errorf("memfd %+v", memfd)
	}
	if v := find("locked", func(v *VMA) bool { return v.Has("lo") }); v.Locked != 32<<10 || v.Size() != 64<<10 || v.Anonymous != 64<<10 {
		t.Errorf("locked %+v", v)
	}
	if v := find("deceiver", func(v *VMA) bool { return v.Path == "/srv/app/new\nline\\" }); !v.Deleted || v.Inode != 9977972 {
		t.Errorf("deceiver %+v", v)
	}
	if v := find("stack", func(v *VMA) bool { return v.Path == "[stack]" }); !v.Special() || !v.Has("gd") {
		t.Errorf("stack %+v", v)
	}
	for _, flag := range []string{"hg", "wf", "dd", "dc", "nr"} {
		find(flag, func(v *VMA) bool { return v.Has(flag) })
	}
	if v := find("vsyscall", func(v *VMA) bool { return v.Path == "[vsyscall]" }); v.Perms.String() != "--xp" || v.End != 0xffffffffff601000 {
		t.Errorf("vsyscall %+v", v)
	}
}

func TestMapsPath(t *testing.T) {
	for text, want := range map[string]VMA{
		"":                          {},
		"[heap]":                    {Path: "[heap]"},
		"[anon:glibc: malloc]":      {Path: "[anon:glibc: malloc]", AnonName: "glibc: malloc"},
		"[anon:x (deleted)]":        {Path: "[anon:x (deleted)]", AnonName: "x (deleted)"},
		"[anon:a\\012b]":            {Path: "[anon:a\\012b]", AnonName: "a\\012b"},
		"[anon_shmem:a b]":          {Path: "[anon_shmem:a b]", AnonName: "a b"},
		"/dev/zero (deleted)":       {Path: "/dev/zero", Deleted: true},
		"/SYSV0000002a (deleted)":   {Path: "/SYSV0000002a", Deleted: true},
		"/a (deleted) (deleted)":    {Path: "/a (deleted)", Deleted: true},
		"/a b  ":                    {Path: "/a b  "},
		"/a\\012\\134":              {Path: "/a\n\\134", Escaped: true},
		"anon_inode:[io_uring]":     {Path: "anon_inode:[io_uring]"},
		"[uprobes]":                 {Path: "[uprobes]"},
		"(unreachable)/x (deleted)": {Path: "(unreachable)/x", Deleted: true},
	} {
		line := fmt.Sprintf("%-73s%s\n", "7fb9315db000-7fb9315eb000 r-xs 00001000 1fe:fffff 25", text)
		areas, err := ParseMaps([]byte(line))
		if err != nil || len(areas) != 1 {
			t.Errorf("%q: %v", text, err)
			continue
		}
		v := areas[0]
		if v.Path != want.Path || v.Deleted != want.Deleted || v.Escaped != want.Escaped || v.AnonName != want.AnonName {
			t.Errorf("%q: got %+v", text, v)
		}
		if v.Perms != (Perms{Read: true, Exec: true, Shared: true}) || v.Offset != 4096 || v.Major != 0x1fe || v.Minor != 0xfffff {
			t.Errorf("%q: got %+v", text, v)
		}
	}
}

func TestParseSmapsBad(t *testing.T) {
	head := "1000-2000 rw-p 00000000 00:00 0 \n"
	for _, text := range []string{
		"\n", "Rss: 0 kB\n", head + "Rss 0 kB\n", head + "Rss: 0\n", head + "\n", head + head,
		"2000-1000 rw-p 0 00:00 0\n", "1000-1000 rw-p 0 00:00 0\n", "1000 rw-p 0 00:00 0\n", "1000-2000 rwzp 0 00:00 0\n",
		"1000-2000 rw-p 0 0000 0\n", "1000-2000 rw-p 0 00:00\n", "1000-2000 rw-p 0 00:00 x\n",
		"1000-20000000000000000 rw-p 0 00:00 0\n", "1000-2000 rw-p 0 100000000:00 0\n", head + "ProtectionKey: x\n",
	} {
		if areas, err := ParseSmaps([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, areas)
		}
	}
	if areas, err := ParseSmaps(nil); err != nil || len(areas) != 0 {
		t.Errorf("no address space: %v, %v", areas, err)
	}
}

func FuzzParseSmaps(f *testing.F) {
	// Short seeds: the fuzzer would spend its time on making long ones shorter.
	smaps := sample(f, "smaps")
	f.Add(smaps[:2000])
	f.Add(smaps[bytes.LastIndex(smaps, []byte("7fff")):])
	f.Add(sample(f, "maps")[:800])
	f.Add([]byte("1000-2000 rw-p 00000000 00:00 0   [anon:x]\nProtectionKey:   3\nVmFlags: rd\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		areas, err := ParseSmaps(b)
		if err != nil {
			return
		}
		last := uint64(0)
		for _, v := range areas {
			if v.Start >= v.End || v.Start < last {
				t.Fatalf("areas out of order: %+v", v)
			}
			last = v.End
		}
	})
}

// FuzzParseMaps: what is maps is smaps too, and the same areas.
func FuzzParseMaps(f *testing.F) {
	f.Add(sample(f, "maps")[:800])
	f.Add([]byte("1000-2000 rw-s 00000000 00:05 4711   /dev/zero (deleted)\n"))
	f.Add([]byte("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0   [vsyscall]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		areas, err := ParseMaps(b)
		if err != nil {
			return
		}
		again, err := ParseSmaps(b)
		if err != nil || len(again) != len(areas) {
			t.Fatalf("%d areas, and as smaps %d: %v", len(areas), len(again), err)
		}
	})
}

func BenchmarkParseSmaps(b *testing.B) {
	one := sample(b, "smaps")
	_, counters, _ := bytes.Cut(one[:bytes.Index(one, []byte("VmFlags"))], []byte("\n"))
	var text bytes.Buffer
	const areas = 10000
	for i := range areas {
		fmt.Fprintf(&text, "%x-%x rw-p %08x fe:00 1234                       /usr/lib/libx.so.%d\n", i<<12, (i+1)<<12, i<<12, i/4)
		text.Write(counters)
		text.WriteString("VmFlags: rd wr mr mw me ac \n")
	}
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if v, err := ParseSmaps(text.Bytes()); err != nil || len(v) != areas {
			b.Fatal(len(v), err)
		}
	}
}

// TestLockOnFault: Linux 6.1 has no name for the flag.
func TestLockOnFault(t *testing.T) {
	const head = "1000-2000 rw-p 00000000 00:00 0 \nVmFlags: "
	for text, want := range map[string]string{"rd wr lo ?? ac": "lf", "rd wr lo lf ac": "lf", "rd wr ?? ac": "??"} {
		areas, err := ParseSmaps([]byte(head + text + " \n"))
		if err != nil || !slices.Contains(areas[0].VmFlags, want) {
			t.Errorf("%s: %v, %v", text, areas, err)
		}
	}
}
