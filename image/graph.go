package image

import (
	"errors"
	"fmt"

	"github.com/rethaw/rethaw/specs"
)

// What records say of each other is checked here: each for itself has been checked
// by its Validate. A restore walks from task to parent, from space to space, from instance
// of epoll(7) to instance: none of these ways may be a circle, and what is
// shared must be shared in a way that can come about.

// graph is what has been found so far.
type graph struct {
	c *contents
	// byPID are the IDs of tasks, owner the task of each thread.
	byPID map[int32]specs.ID
	owner map[specs.ID]specs.ID
	tids  map[int32]bool
}

// checkGraph checks what records say of each other. The place of an error is the
// record that it returns.
func (c *contents) checkGraph() (int, error) {
	g := &graph{c: c, byPID: map[int32]specs.ID{}, owner: map[specs.ID]specs.ID{}, tids: map[int32]bool{}}
	for i, r := range c.records {
		task, ok := r.(*specs.Task)
		if !ok {
			continue
		}
		if g.byPID[task.PID] != 0 {
			return i, fmt.Errorf("pid %d is that of another task too", task.PID)
		}
		g.byPID[task.PID] = c.entries[i].id
	}
	if len(g.byPID) > 0 && c.header.Root == 0 {
		return 0, errors.New("it names no task that all others descend from")
	}
	for i, r := range c.records {
		var err error
		switch r := r.(type) {
		case *specs.Task:
			err = g.threads(c.entries[i].id, r)
		case *specs.Memory:
			err = g.memory(r)
		}
		if err != nil {
			return i, err
		}
	}
	for _, next := range []func(specs.Record) []specs.ID{g.parent, parentSpace, watched} {
		if i := c.circle(next); i >= 0 {
			return i, errors.New("it leads back to itself")
		}
	}
	return 0, nil
}

// parent gives the task above a task, none for the root.
func (g *graph) parent(r specs.Record) []specs.ID {
	t, ok := r.(*specs.Task)
	if !ok || g.byPID[t.PID] == g.c.header.Root {
		return nil
	}
	if up := g.byPID[t.PPID]; up != 0 {
		return []specs.ID{up}
	}
	return nil
}

// threads checks that a task's threads are its own and have numbers of their own.
func (g *graph) threads(id specs.ID, t *specs.Task) error {
	own := map[int32]bool{}
	for i, th := range t.Threads {
		if other, ok := g.owner[th]; ok {
			return fmt.Errorf("thread %d is one of task %d too", th, other)
		}
		g.owner[th] = id
		rec := g.c.records[g.c.byID[th]].(*specs.Thread)
		if (i == 0) != (rec.TID == t.PID) {
			return fmt.Errorf("thread %d has number %d, and the task's first one %d", i, rec.TID, t.PID)
		}
		if g.tids[rec.TID] || i > 0 && g.byPID[rec.TID] != 0 {
			return fmt.Errorf("the number %d of a thread is taken", rec.TID)
		}
		g.tids[rec.TID], own[rec.TID] = true, true
	}
	for _, timer := range t.Timers {
		const signalThread = 4 // SIGEV_THREAD_ID
		if timer.Notify == signalThread && !own[timer.TID] {
			return fmt.Errorf("timer %d notifies thread %d, which the task has not", timer.ID, timer.TID)
		}
	}
	return nil
}

// memory checks that pages lie within areas, and that there is somebody to inherit from.
func (g *graph) memory(m *specs.Memory) error {
	page := uint64(g.c.header.PageSize)
	for _, e := range m.Pages {
		if e.Inherit && m.Parent == 0 {
			return fmt.Errorf("pages at %#x are inherited from nobody", e.Start)
		}
		if !m.Covers(e.Start, e.Count*page) {
			return fmt.Errorf("%d pages at %#x are not within the areas", e.Count, e.Start)
		}
	}
	return nil
}

// parentSpace gives the address space that another one inherits pages from.
func parentSpace(r specs.Record) []specs.ID {
	if m, ok := r.(*specs.Memory); ok && m.Parent != 0 {
		return []specs.ID{m.Parent}
	}
	return nil
}

// watched gives what an instance of epoll(7) watches.
func watched(r specs.Record) []specs.ID {
	e, ok := r.(*specs.Epoll)
	if !ok {
		return nil
	}
	var ids []specs.ID
	for _, w := range e.Watches {
		ids = append(ids, w.File)
	}
	return ids
}

// circle finds a record from which the ways lead back to it, -1 if there is none. Each
// way is gone once.
func (c *contents) circle(next func(specs.Record) []specs.ID) int {
	const entered, left = 1, 2
	type step struct {
		at   int
		ways []specs.ID
	}
	state := make([]byte, len(c.records))
	for begin := range c.records {
		if state[begin] != 0 {
			continue
		}
		state[begin] = entered
		for stack := []step{{begin, next(c.records[begin])}}; len(stack) > 0; {
			top := &stack[len(stack)-1]
			if len(top.ways) == 0 {
				state[top.at] = left
				stack = stack[:len(stack)-1]
				continue
			}
			to := c.byID[top.ways[0]]
			top.ways = top.ways[1:]
			switch state[to] {
			case entered:
				return to
			case 0:
				state[to] = entered
				stack = append(stack, step{to, next(c.records[to])})
			}
		}
	}
	return -1
}
