package sleeping

import (
	"slices"
	"sort"
)

// early is by how much a computed end can lie before the true one: a timer is
// started a few microseconds before its thread is charged for the last time,
// and the comparison of the clocks is not exact.
const early = 200_000

// drift is which part of a sleep the scheduler's clock may lag behind: NTP
// slews by 1/2000 at most, interrupt and stolen time can be more.
const drift = 64

// match looks for the timer of a thread among the ends of all sleeping threads,
// in CLOCK_MONOTONIC. The end computed from the scheduler's clock is an upper
// bound, apart from early. exact says that the returned end is that of a timer.
//
// If the bound is also an estimate, the nearest timer within the drift is the
// thread's, or as good as that. Otherwise a timer is the thread's if there is no
// other in the time that remains: the thread's own one must be there.
//
// ends are sorted.
func match(ends []int64, now, end, slept int64, estimate bool) (deadline int64, exact bool) {
	tolerance := early + slept/drift
	first, _ := slices.BinarySearch(ends, now-early)
	last := sort.Search(len(ends), func(i int) bool { return ends[i] > add(end, early) })
	if first >= last {
		return end, false
	}
	ends = ends[first:last]
	i, _ := slices.BinarySearch(ends, end)
	i = min(i, len(ends)-1)
	if i > 0 && end-ends[i-1] <= max(ends[i]-end, end-ends[i]) {
		i--
	}
	switch {
	case estimate && max(ends[i]-end, end-ends[i]) <= tolerance:
		return ends[i], true
	case len(ends) == 1:
		return ends[0], true
	}
	return end, false
}
