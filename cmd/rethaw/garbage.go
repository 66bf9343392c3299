package main

import (
	"runtime"
	"runtime/debug"
)

// firstCollection is how much the heap grows, in percent of the 4 MiB at which the runtime
// would begin, before it is gone through for the first time.
const firstCollection = 300

// deferCollections spares short runs, which are most, the garbage collector: it would begin in the
// middle of a checkpoint, while the tasks stand still, to win back some megabytes. From the first collection on
// things are as always, so that large containers take no more memory.
func deferCollections() {
	usual := debug.SetGCPercent(firstCollection)
	// What nobody refers to is found by the first collection.
	runtime.AddCleanup(new([64]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}
