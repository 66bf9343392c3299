package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestDeferCollections(t *testing.T) {
	percent := func() int {
		now := debug.SetGCPercent(-1)
		debug.SetGCPercent(now)
		return now
	}
	usual := percent()
	defer debug.SetGCPercent(usual)
	deferCollections()
	if now := percent(); now != firstCollection {
		t.Errorf("before the first collection it is %d, not %d", now, firstCollection)
	}
	for begin := time.Now(); percent() != usual; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 10*time.Second {
			t.Fatalf("after the first collection it is %d, not %d", percent(), usual)
		}
		runtime.GC()
	}
}
