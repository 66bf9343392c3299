package procfs

import (
	"reflect"
	"testing"
)

func TestParseInotify(t *testing.T) {
	info, err := ParseFDInfo(sample(t, "fdinfo.inotify"))
	if err != nil || len(info.Inotify) != 2 || len(info.Other) != 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	got, err := ParseInotify(info.Inotify[1])
	want := InotifyWatch{WD: 1, Ino: 0x3c4a3, Dev: 0xfe00000, Mask: 0x100, HandleType: 1, Handle: []byte{0xa3, 0xc4, 3, 0, 0, 0, 0, 0}}
	if err != nil || !reflect.DeepEqual(got, want) || got.Major() != 0xfe || got.Minor() != 0 {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	bare := "inotify wd:14 ino:1 sdev:19 mask:80000002 ignored_mask:0 "
	if got, err := ParseInotify(bare); err != nil || got.WD != 20 || got.Handle != nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, line := range []string{
		"", "inotify ", "inotify wd:1", bare + "new:1", bare + "f_handle:1", bare + "fhandle-bytes:8 fhandle-type:1 f_handle:00",
		"inotify wd:ffffffff ino:1 sdev:1 mask:1 ignored_mask:0", "fanotify " + bare[8:],
	} {
		if got, err := ParseInotify(line); err == nil {
			t.Errorf("%q accepted: %+v", line, got)
		}
	}
	info, err = ParseFDInfo(sample(t, "fdinfo.fanotify"))
	if err != nil || len(info.Fanotify) != 3 || len(info.Other) != 0 {
		t.Errorf("fanotify: %+v, %v", info, err)
	}
}

func FuzzParseInotify(f *testing.F) {
	f.Add("inotify wd:14 ino:9862c5 sdev:fe00000 mask:2 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:c5629800a420a62c")
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := ParseInotify(s); err == nil && len(w.Handle) > maxHandle {
			t.Error("a handle too long")
		}
	})
}
