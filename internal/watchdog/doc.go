// Package watchdog undoes what must not outlive us.
//
// Most of what a checkpoint or a restore does to the world ends with the process that does
// it, because the kernel sees to that. The rest - a paused container that was thawed, an option
// of a socket, a container that the runtime makes for us - is given into the care of a second
// process, the WATCHDOG, before it is done. The watchdog reads orders from a socket: to guard
// something, or to forget it. When the socket ends without that everything was forgotten, we have
// died, and it undoes what it guards, the last first.
//
// Orders stay in the socket until they are read, so nobody waits for the watchdog. Most never need it: so it SLEEPS
// at first, as a program of two hundred bytes (asleep_amd64.s): to start another Go program takes milliseconds of a processor. It wakes
// up, that is it executes us, when a pipe ends: since we have died, or since it was called for.
//
// What it does is idempotent: we may die right before a thing is done as well as right
// after it was undone. It has a session of its own and takes no signals of the terminal. If both are
// killed at once, nothing is undone.
package watchdog
