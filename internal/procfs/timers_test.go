package procfs

import (
	"reflect"
	"testing"
)

func TestParseTimers(t *testing.T) {
	got, err := ParseTimers(sample(t, "timers"))
	want := []Timer{
		{ID: 2, Signal: 14, Value: 0x1234abcd, Notify: SigevThreadID, Target: 8291, ClockID: -6},
		{ID: 1, Signal: 35, Value: 0x1234abcd, Notify: SigevNone, Target: 8291},
		{ID: 0, Signal: 35, Value: 0x1234abcd, Notify: SigevSignal, Target: 8291, ClockID: 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
	const old = "ID: 0\nsignal: 34/          (null)\nnotify: thread/pid.5\nClockID: 0\n"
	if got, err = ParseTimers([]byte(old)); err != nil || got[0].Value != 0 || got[0].Notify != SigevThread {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = ParseTimers(nil); err != nil || len(got) != 0 {
		t.Errorf("none: %v, %v", got, err)
	}
	for _, text := range []string{
		"ID: 0\n", "ID: 0\nsignal: 1/0\nnotify: signal/pid.1\nNew: 0\n", "signal: 1/0\n", "ID: x\nsignal: 1/0\nnotify: none/pid.1\nClockID: 0\n",
		"ID: 0\nsignal: 1\nnotify: none/pid.1\nClockID: 0\n", "ID: 0\nsignal: 1/0\nnotify: odd/pid.1\nClockID: 0\n",
		"ID: 0\nsignal: 1/0\nnotify: none/gid.1\nClockID: 0\n", "ID: 0\nsignal: 1/0\nnotify: none/pid\nClockID: 0\n", "\n",
	} {
		if got, err := ParseTimers([]byte(text)); err == nil {
			t.Errorf("%q accepted: %+v", text, got)
		}
	}
}

func FuzzParseTimers(f *testing.F) {
	f.Add(sample(f, "timers"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseTimers(b) })
}
