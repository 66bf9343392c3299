package snapshot

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFdinfo(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       Facts
	}{
		{"a file", "pos:\t12\nflags:\t0100000\nmnt_id:\t55\nino:\t77\nlock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:00:99 0 EOF\n", Facts{
			"fdinfo pos": "12", "fdinfo flags": "0100000", "fdinfo mnt_id": "/data",
			"fdinfo lock": "FLOCK ADVISORY WRITE 7 0 EOF",
		}},
		{"an epoll, in another order", "pos:\t0\ntfd:       11 events:       19 data:                b  pos:0 ino:5 sdev:e\ntfd:        4 events:       1d data:                4  pos:0 ino:5 sdev:e\n", Facts{
			"fdinfo pos": "0", "fdinfo tfd": "4 events: 1d data: 4 pos:0\n11 events: 19 data: b pos:0",
		}},
		{"a timer", "clockid: 1\nticks: 0\nit_value: (0, 500)\nit_interval: (1, 0)\n", Facts{
			"fdinfo clockid": "1", "fdinfo ticks": "0", "fdinfo it_value": "armed", "fdinfo it_interval": "(1, 0)",
		}},
		{"a pidfd", "Pid:\t4711\nNSpid:\t4711\t7\n", Facts{"fdinfo Pid": "7", "fdinfo NSpid": "7"}},
		{"a pidfd of another namespace", "Pid:\t1\n", Facts{"fdinfo Pid": "outside"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := newLook(1, Options{})
			l.mounts["55"] = "/data"
			l.inside[4711] = 7
			got := Facts{}
			l.fdinfo(got, test.text)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPosition(t *testing.T) {
	const asleep = "230 0x0 0x0 0x7ffc 0x0 0x0 0x0 0x7ffd 0x4412d9"
	const restarted = "219 0x0 0x0 0x7ffc 0x0 0x0 0x0 0x7ffd 0x4412d9"
	if a, b := position(asleep), position(restarted); a != b {
		t.Errorf("a sleep that was restarted is another one: %q, %q", a, b)
	}
	const read = "0 0x3 0x7ffc 0x8 0x0 0x0 0x0 0x7ffd 0x4412d9"
	if a, b := position(asleep), position(read); a == b {
		t.Errorf("a sleep is a read: %q", a)
	}
	before := &Snapshot{Tasks: map[string]Task{"1": {Threads: map[string]Facts{"1": {"position": "running"}}}}}
	after := &Snapshot{Tasks: map[string]Task{"1": {Threads: map[string]Facts{"1": {"position": position(read)}}}}}
	if diff := Diff(before, after); diff != "" {
		t.Errorf("a running task has a position:\n%s", diff)
	}
	before.Tasks["1"].Threads["1"]["position"] = position(asleep)
	if Diff(before, after) == "" {
		t.Error("two positions are taken for one")
	}
}
