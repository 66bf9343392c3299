// Package e2e checks Rethaw on real programs in real containers.
//
// # How it works
//
// Package rig makes the containers, package snapshot writes down what the kernel
// shows of them. A scenario runs a container under the stock runtime, warms it
// up, takes a snapshot, checkpoints, sees that nothing is left, restores, takes a
// snapshot again, compares, and asks the program: from outside every number of
// /proc must be the same, from inside the program checks its own state and proves
// by a nonce, kept in memory alone, that it was not started anew. It does so
// three times in a row, and once with the original left running.
//
// The programs in e2e/programs build one kind of kernel state each (C). The real
// ones - a shell, servers, databases, virtual machines - have a test file each.
// Other tests kill rethaw at random moments and at each of its system calls, let those
// fail one after the other (package fault), and feed it bad input.
//
// All of it needs root and a runtime; without them the tests skip and say why.
package e2e
