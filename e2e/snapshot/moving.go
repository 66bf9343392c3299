package snapshot

// movingFacts change at any time while a program works.
var movingFacts = []string{
	"Threads", "stat num_threads", "SigPnd", "ShdPnd", "SigBlk",
	"readable", "fdinfo eventfd-count", "fdinfo it_value", "fdinfo ticks", "fdinfo tfd", "fdinfo pos",
	"so rcvbuf", "so sndbuf", // TCP tunes them
}

// prune leaves of a snapshot what stays the same while a program is at work: not
// its memory map, its threads beside the first, or its queues.
func (s *Snapshot) prune() {
	for pid, task := range s.Tasks {
		task.Memory = nil
		for tid, facts := range task.Threads {
			if tid != pid {
				delete(task.Threads, tid)
				continue
			}
			drop(facts)
		}
		for _, facts := range task.Files {
			drop(facts)
		}
		s.Tasks[pid] = task
	}
}

func drop(facts Facts) {
	for _, name := range movingFacts {
		delete(facts, name)
	}
}
