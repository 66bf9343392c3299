package rig

import "io"

// TB is what the rig needs of a test. *testing.T has it, and so has the
// benchmark, which is no test.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(func())
	Failed() bool
}

// must ends the test where err is not nil.
func must(t TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// closeAll closes what it is given and forgets the errors: for ends of pipes
// and logs that have served.
func closeAll(files ...io.Closer) {
	for _, f := range files {
		_ = f.Close()
	}
}
