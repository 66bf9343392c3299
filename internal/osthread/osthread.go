// Package osthread gives a function an operating system thread of its own, which
// ends with it.
//
// The kernel ties some state to a thread for good: the tasks that it traces, the
// namespaces that it has joined. Such a thread must not go back to the
// scheduler of Go, and it must not be the main thread either, which Go cannot
// end: what it traces would be held, and /proc/self would show what it has
// joined, as long as the program lives.
package osthread

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Run calls f on a locked thread that is not the main one, from the calling
// goroutine or another. The thread ends when f and the goroutine do. Run may
// return before f does.
func Run(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	// While this goroutine holds the main thread the next one cannot get it.
	moved := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(moved)
		f()
	}()
	<-moved
	runtime.UnlockOSThread()
}
