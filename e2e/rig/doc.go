// Package rig makes real containers for the end-to-end tests and the
// benchmark, drives rethaw on them and takes everything away again.
//
// # How it works
//
// Open makes one run directory, named after the test process and its start
// time, removes what dead test processes left behind (Sweep), and builds the
// rethaw binary once. Rig.New makes a container of a Config: a bundle with its
// own rootfs, its own state root for the runtime, its own cgroup, so that tests
// run in parallel without seeing each other. A container has a directory on
// the host that it sees as /state: the programs in e2e/programs talk with
// their test through files there (see Program).
//
// # Cleaning up
//
// Everything that a container can leave behind is found by name from its run
// directory: the runtime's state root lies in it, mounts lie under it, and the
// cgroup carries its name. So a sweep needs no list of what was made, and a test
// process that was killed is cleaned up after by the next one.
package rig
