package procfs

import "testing"

func TestParseAuxv(t *testing.T) {
	b := sample(t, "auxv")
	aux, err := ParseAuxv(b)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint64]uint64{}
	for _, e := range aux {
		got[e.Type] = e.Value
	}
	const pagesz, secure = 6, 23 // AT_PAGESZ, AT_SECURE
	if got[pagesz] != 4096 || got[secure] != 0 || len(aux) != len(b)/auxEntrySize-1 {
		t.Errorf("%d entries: %v", len(aux), aux)
	}
	if aux, err := ParseAuxv(nil); err != nil || aux != nil {
		t.Errorf("no address space: %v, %v", aux, err)
	}
	narrow := []byte{6, 0, 0, 0, 0, 16, 0, 0, 23, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	for name, bad := range map[string][]byte{"cut": b[:len(b)-auxEntrySize], "odd": b[:7], "32-bit": narrow} {
		if aux, err := ParseAuxv(bad); err == nil {
			t.Errorf("%s accepted: %v", name, aux)
		}
	}
}

func FuzzParseAuxv(f *testing.F) {
	f.Add(sample(f, "auxv"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseAuxv(b) })
}
