// Package fault runs a program and lets one thing go wrong at one step of it.
//
// The program is traced from outside (PTRACE_SYSCALL), so that it needs no code for it and
// is the very one that is shipped. A STEP is a system call made from one place: the number
// of the call, its operation where it has several (ptrace, futex, ioctl...), and the return
// addresses of all callers, which Go's frame pointers tell. A first run records the steps;
// every further one strikes at one of them: kills the program there, has the call fail, cuts a
// write short, or does something else to the world at that moment (Strike).
//
// The calls of Go's runtime are steps to die at like all others, but never fail: the runtime
// takes most failures for its own bug.
//
// What the program traces in its turn stays as it is: a traced tracer is no different to its
// tasks. Processes that it forks are not traced.
package fault
