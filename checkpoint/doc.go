// Package checkpoint saves a running tree of tasks into an image.
//
// The order of a checkpoint:
//
//  1. preflight: everything that could not be saved is found in /proc while the
//     tasks run, and refused by name (Check; Run does it first).
//  2. freeze (freeze.go): every thread is seized and interrupted until a pass over
//     /proc finds no new one. Children that are born meanwhile are seized by the
//     kernel for us, so nothing escapes. A cgroup that is frozen meanwhile (hold.go) is in
//     the care of a watchdog, which thaws it if we die.
//  3. describe (describe.go): what /proc does not show is asked by one batch of
//     system calls inside each thread (package inject). After it every thread
//     stands in a ptrace stop with its own registers: from here on the kernel
//     lets all go on unharmed if we die.
//  4. files (files.go): each open file description once, by the handler of its
//     kind in the table of kinds.go.
//  5. memory (memory.go, pages.go): areas, then pages, in parallel.
//  6. the container's own: tmpfs, hostname, System V objects.
//  7. the image is sealed and committed; the tasks are killed after, or let go. Of an image
//     that goes into a stream the contents are read once more for that, and sent.
//
// One file stands for one kernel object, with the same name here, in specs, in
// restore and in e2e/programs.
package checkpoint
