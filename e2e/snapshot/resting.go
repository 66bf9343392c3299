package snapshot

import "fmt"

// running tells whether a thread of the container runs, or waits for a processor.
func running(init int) bool {
	pids, err := members(init)
	if err != nil {
		return false
	}
	for _, pid := range pids {
		tids, err := threadIDs(pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			stat, err := readStat(fmt.Sprintf("/proc/%d/task/%d/stat", pid, tid))
			if err == nil && stat[statState] == "R" {
				return true
			}
		}
	}
	return false
}
