// Package kernel tells what the running kernel offers, by doing it: a version number
// says nothing about what a distribution configured, backported or forbade. Each
// probe uses the feature on objects of its own (a page, a thread that is thrown
// away, a child that never runs an instruction) and leaves nothing behind.
//
// An answer is Yes, No or Unknown. Unknown comes from a probe that could not be
// made, mostly for lack of a privilege; it carries the error, and is tried again the next
// time, while Yes and No are remembered by the Prober.
package kernel
