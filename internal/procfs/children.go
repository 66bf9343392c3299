package procfs

// ParseChildren reads /proc/PID/task/TID/children: the processes that this thread
// has forked (or was given as their new parent), zombies included. The list is
// exact only while they are all stopped (fs/proc/array.c, get_children_pid).
func ParseChildren(b []byte) ([]int, error) {
	line, rest := nextLine(b)
	pids, ok := parsePIDs(line)
	if !ok || len(rest) != 0 {
		return nil, badLine("children", 1, line, "not a list of pids")
	}
	return pids, nil
}
