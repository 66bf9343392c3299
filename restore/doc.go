// Package restore makes a tree of tasks from an image.
//
// The order of a restore:
//
//  1. the whole image is read and checked, or the records of a stream; nothing has been
//     made yet.
//  2. the fresh container's init is seized while the runtime has it wait. When it
//     executes the container's process it stops before the first instruction:
//     this task is the PLACEHOLDER, pid 1 of the fresh container. It is
//     morphed in place, so the runtime's state, exec, kill and delete go on
//     working. (placeholder.go; for a host tree we spawn one ourselves.)
//  3. what belongs to the container: hostname, System V objects, tmpfs (container.go).
//  4. every open file description once, in the container's namespaces, by the
//     handler of its kind in the table of kinds.go (files.go); first of all those with
//     contents, in the order in which a stream has them (contents.go, order.go).
//  5. the tree, from the root down (tree.go): a task gets its program (exec.go),
//     its address space (memory.go), and then forks its children with their pids, so
//     that pages which parent and child share are shared again.
//     A stream has been read to its end then, and is whole.
//  6. threads, descriptors, working directory, timers, signals, credentials.
//  7. all tasks are released together (release.go).
//
// Every task is traced with PTRACE_O_EXITKILL until the release: any failure, and
// our death too, ends the half-made tree, and with it the fresh container. The root's
// option is the last to be cleared. The
// image is only read.
package restore
