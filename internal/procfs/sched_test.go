package procfs

import "testing"

func TestParseSched(t *testing.T) {
	s, err := ParseSched(sample(t, "sched"))
	if err != nil || s.ExecStart != 1207192231589 || s.SumExecRuntime == 0 || s.Switches == 0 || s.VoluntarySwitches == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for text, want := range map[string]int64{
		"se.exec_start  :  0.000001\n": 1,
		"\nse.exec_start (1, #threads: 1)\n---\nse.exec_start      :      5.000000\n": 5e6,
	} {
		if s, err := ParseSched([]byte(text)); err != nil || s.ExecStart != want {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	}
	for _, text := range []string{
		"", "se.exec_start : 1\n", "se.exec_start : 1.5\n", "se.exec_start : -1.000000\n",
		"se.exec_start : 18446744073709.551615\n", "se.exec_start : 1.000000\nnr_switches : x\n",
	} {
		if s, err := ParseSched([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, s)
		}
	}
}

func FuzzParseSched(f *testing.F) {
	f.Add(sample(f, "sched"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSched(b); err == nil && s.ExecStart < 0 {
			t.Error("a negative time")
		}
	})
}
