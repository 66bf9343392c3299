package procfs

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseStat(t *testing.T) {
	s, err := ParseStat(sample(t, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	want := Stat{
		PID: 8291, Comm: "a) S (b \n", State: 'S', PPID: 1, PGRP: 8291, Session: 8291, TPGID: -1,
		Flags: 4194560, MinFlt: s.MinFlt, CMinFlt: s.CMinFlt, MajFlt: s.MajFlt,
		STime: 1, Priority: 20, NumThreads: 2, StartTime: 120721, VSize: 15675392, RSS: s.RSS, RSSLim: Unlimited,
		StartCode: 94374313889792, EndCode: 94374313894561, StartStack: 140733665254064,
		Signal: 0, Blocked: 512, SigIgnore: 7, SigCatch: 2048, ExitSignal: 17,
		Processor: s.Processor,
		StartData: 94374313905616, EndData: 94374313906552, StartBrk: 94375175847936,
		ArgStart: 140733665262081, ArgEnd: 140733665262088, EnvStart: 140733665262088, EnvEnd: 140733665263601,
	}
	s.UTime, s.STime = 0, 1
	if s != want {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
	if s, err = ParseStat(sample(t, "stat.thread")); err != nil || s.ExitSignal != -1 || s.Comm != "we ird) (x" {
		t.Errorf("thread: %+v, %v", s, err)
	}
	if s, err = ParseStat(sample(t, "stat.zombie")); err != nil || s.State != 'Z' || s.ExitCode != 3<<8 || s.PPID != 8291 {
		t.Errorf("zombie: %+v, %v", s, err)
	}
}

func TestParseStatBad(t *testing.T) {
	good := string(sample(t, "stat"))
	for name, text := range map[string]string{
		"empty":       "",
		"no name":     "1 S 1 2 3",
		"reversed":    "1 )x( S 1",
		"short":       good[:len(good)/2],
		"no pid":      strings.TrimPrefix(good, "8291"),
		"long state":  strings.Replace(good, ") S 1", ") SS 1", 1),
		"wide number": strings.Replace(good, " 20 0 2 ", " 20 0 99999999999 ", 1),
		"letters":     strings.Replace(good, " 120721 ", " 12x721 ", 1),
	} {
		var bad *ParseError
		if _, err := ParseStat([]byte(text)); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		} else if len(bad.Text) > maxQuoted {
			t.Errorf("%s: quotes %d bytes", name, len(bad.Text))
		}
	}
}

func FuzzParseStat(f *testing.F) {
	for _, n := range []string{"stat", "stat.thread", "stat.zombie"} {
		f.Add(sample(f, n))
	}
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseStat(b) })
}
