package procfs

import "testing"

func TestParsePagemapEntry(t *testing.T) {
	for v, want := range map[uint64]PagemapEntry{
		0:                               {},
		1<<63 | 1<<56 | 1<<55 | 0x12345: {Present: true, Exclusive: true, SoftDirty: true, PFN: 0x12345},
		1<<63 | 1<<61:                   {Present: true, FileShared: true},
		1<<62 | 0x12345<<5 | 3:          {Swap: true, SwapType: 3, SwapOffset: 0x12345},
		1 << 58:                         {Guard: true},
		1 << 57:                         {UffdWP: true},
	} {
		if got := ParsePagemapEntry(v); got != want {
			t.Errorf("%#x: got %+v, want %+v", v, got, want)
		}
	}
}

func FuzzParsePagemapEntry(f *testing.F) {
	f.Add(uint64(1<<63 | 5))
	f.Fuzz(func(t *testing.T, v uint64) {
		if e := ParsePagemapEntry(v); e.PFN != 0 && !e.Present || e.SwapOffset != 0 && !e.Swap {
			t.Errorf("%#x: %+v", v, e)
		}
	})
}
