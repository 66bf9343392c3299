// Package layer carries what has changed in a root filesystem from one machine to
// another: it reads the changes where they are, writes them into an archive, and brings
// them into another root filesystem, all or none of them.
//
// # Reading
//
// The changes are the upper directory of an overlay (Upper), what tells a directory
// apart from the one that it was made of (Diff), or all of a directory (Whole). They
// go through a pax.Writer in the order of a tree, each directory before what is in it. What is
// no longer there is an entry of the type Whiteout, a directory that has nothing of the
// base any more is opaque: how overlayfs marks these does not leave this package.
//
// # Writing
//
// A Stage takes the entries, each checked as if an enemy had written it, into a
// directory at the top of the filesystem that is to be changed, which nobody else may
// enter. Nothing else is touched. Apply then moves them to their places, by names alone: what
// was there is moved aside, into the same directory. Undo moves all of it back;
// Commit removes what was moved aside. Every step is told to a journal first, so that Recover can undo
// what a dead process has begun.
//
// Paths are resolved beneath the top of the filesystem and never through symbolic links.
package layer

import "errors"

// ErrUnsupported: a file is of a kind that is not carried.
var ErrUnsupported = errors.New("cannot be exported")

// StagePrefix begins the names of the directories of stages.
const StagePrefix = ".rethaw-import-"
