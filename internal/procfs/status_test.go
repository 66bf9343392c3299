package procfs

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseStatus(t *testing.T) {
	s, err := ParseStatus(sample(t, "status"))
	if err != nil {
		t.Fatal(err)
	}
	pid := []int{8291}
	want := Status{
		Name: "a) S (b \n", Umask: 0o022, State: 'S', Tgid: 8291, Pid: 8291, PPid: 1, FDSize: 256,
		NStgid: pid, NSpid: pid, NSpgid: pid, NSsid: pid,
		VmPeak: 15308 << 10, VmSize: 15308 << 10, VmLck: 64 << 10, VmHWM: 5724 << 10, VmRSS: 5724 << 10,
		RssAnon: 4272 << 10, RssFile: 1444 << 10, RssShmem: 8 << 10, VmData: 12708 << 10, VmStk: 196 << 10,
		VmExe: 8 << 10, VmLib: 1528 << 10, VmPTE: 60 << 10,
		THPEnabled: true, HasTHPEnabled: true, UntagMask: Unlimited, Threads: 2, SigQ: 4, SigQLimit: 96365,
		ShdPnd: 0x200, SigBlk: 0x8000001000000200, SigIgn: 7, SigCgt: 0x100000800,
		CapPrm: 0x1fffeffffff, CapEff: 0x1fffeffffff, CapBnd: 0x1fffeffffff,
		SpeculationStoreBypass: "vulnerable", SpeculationIndirectBranch: "always enabled",
		CPUsAllowedList: "0-1", MemsAllowedList: "0", VoluntaryCtxtSwitches: s.VoluntaryCtxtSwitches,
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s, err = ParseStatus(sample(t, "status.zombie")); err != nil || s.State != 'Z' || s.Umask != -1 || s.HasTHPEnabled {
		t.Errorf("zombie: %+v, %v", s, err)
	}
}

func TestParseStatusLines(t *testing.T) {
	base := "Name:\tx\nState:\tT (stopped)\nTgid:\t5\nPid:\t6\nPPid:\t0\nUid:\t1\t2\t3\t4294967295\nGid:\t1\t1\t1\t1\n"
	for line, check := range map[string]func(s Status) bool{
		"Groups:\t4 24 4294967295 \n":           func(s Status) bool { return reflect.DeepEqual(s.Groups, []uint32{4, 24, 1<<32 - 1}) },
		"NSpid:\t900\t12\t3\n":                  func(s Status) bool { return s.ThreadPID() == 3 },
		"Uid:\t1\t2\t3\t4\n":                    func(s Status) bool { return s.Uid == [4]uint32{1, 2, 3, 4} },
		"Name:\tend \\\\n\n":                    func(s Status) bool { return s.Name == `end \n` },
		"Name:\ttab\tand colon:\n":              func(s Status) bool { return s.Name == "tab\tand colon:" },
		"Name:\t\n":                             func(s Status) bool { return s.Name == "" },
		"Seccomp:\t2\nSeccomp_filters:\t3\n":    func(s Status) bool { return s.Seccomp == 2 && s.SeccompFilters == 3 },
		"x86_Thread_features:\tshstk wrss \n":   func(s Status) bool { return len(s.ThreadFeatures) == 2 },
		"x86_Thread_features_locked:\tshstk \n": func(s Status) bool { return s.ThreadFeaturesLocked[0] == "shstk" },
		"THP_enabled:\t0\n":                     func(s Status) bool { return s.HasTHPEnabled && !s.THPEnabled },
		"Of_tomorrow:\t1\n":                     func(s Status) bool { return s.ThreadPID() == 6 },
	} {
		if s, err := ParseStatus([]byte(base + line)); err != nil || !check(s) {
			t.Errorf("%q: %+v, %v", line, s, err)
		}
	}
	for _, line := range []string{
		"no colon\n", "\n", "Uid:\t1\t2\t3\n", "Uid:\t1\t2\t3\t4\t5\n", "Uid:\t1\t2\t3\t-4\n", "SigQ:\t1\n", "VmLck:\t1 MB\n",
		"VmLck:\t18446744073709551615 kB\n", "State:\t\n", "NSpid:\t1 x\n", "CoreDumping:\t2\n", "Umask:\t9\n", "SigBlk:\t\n",
	} {
		if s, err := ParseStatus([]byte(base + line)); err == nil {
			t.Errorf("%q accepted: %+v", line, s)
		}
	}
	if _, err := ParseStatus([]byte(strings.Replace(base, "PPid", "QPid", 1))); err == nil || !strings.Contains(err.Error(), "PPid") {
		t.Errorf("a missing line: %v", err)
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add(sample(f, "status"))
	f.Add(sample(f, "status.zombie"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseStatus(b); err == nil && s.State == 0 {
			t.Error("a status without a state")
		}
	})
}
