package sleeping

import "errors"

// Task names a thread and its process.
type Task struct{ PID, TID int }

// longList is from how many sleeping threads on the kernel's list of timers is read
// once only. To print it takes the kernel the square of its length.
const longList = 256

// LookAll is Look at many threads. It calls found with each that is in a timed
// sleep; what Look would return an error for is passed over. All are observed before the kernel's timers
// are listed once. Those that have woken up meanwhile are looked at again, one by one, and if
// the list is long by the scheduler's clock alone: they sleep for moments.
func (w *Watch) LookAll(tasks []Task, found func(Task, Sleep)) {
	for i := 0; i < tries && len(tasks) > 0; i++ {
		if i > 0 && len(w.ends) >= longList {
			w.estimateAll(tasks, found)
			return
		}
		var seen []observation
		var again []Task
		sort := func(t Task, err error) {
			if errors.Is(err, errMoved) {
				again = append(again, t)
			}
		}
		for _, t := range tasks {
			o, err := w.observe(thread{t.PID, t.TID})
			if err == nil {
				seen = append(seen, o)
			}
			sort(t, err)
		}
		for j := range seen {
			t := Task{seen[j].pid, seen[j].tid}
			s, err := w.judge(&seen[j])
			if err == nil {
				found(t, s)
			}
			sort(t, err)
		}
		tasks = again
	}
}

// estimateAll looks at each without the kernel's timers.
func (w *Watch) estimateAll(tasks []Task, found func(Task, Sleep)) {
	for _, t := range tasks {
		for range tries {
			o, err := w.observe(thread{t.PID, t.TID})
			if err != nil {
				break
			}
			o.timed = false
			if s, err := w.judge(&o); err == nil {
				found(t, s)
				break
			}
		}
	}
}
