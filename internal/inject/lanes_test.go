package inject

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/internal/ptrace"
	"golang.org/x/sys/unix"
)

// TestLanes makes threads in a stopped program, and lets each write its number into its own
// lane, all at the same time and more than once.
func TestLanes(t *testing.T) {
	pid := victim(t)
	tracer := ptrace.NewTracer()
	defer tracer.Close() // ends the program (PTRACE_O_EXITKILL)
	if err := tracer.Do(func() error { return useLanes(pid) }); err != nil {
		t.Fatal(err)
	}
}

func useLanes(pid int) error {
	leader, err := ptrace.Seize(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_EXITKILL)
	if err != nil {
		return err
	}
	if _, err := leader.Halt(); err != nil {
		return err
	}
	arena, err := arenaOf(leader)
	if err != nil {
		return err
	}
	defer arena.Close()
	threads, err := clones(arena, leader, arena.Lanes())
	if err != nil {
		return err
	}
	for range 3 {
		if err := everyLane(arena, threads); err != nil {
			return err
		}
	}
	// The leader still answers in its own slot.
	call := []Call{{Nr: unix.SYS_GETPID}}
	if err := arena.Run(leader, call, nil); err != nil || call[0].Ret != int64(pid) {
		return fmt.Errorf("the leader is %d: %w", call[0].Ret, err)
	}
	if err := arena.Each([]Job{{threads[0], make([]Call, arena.LaneCalls()+1)}}); !errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("more calls than a lane has: %w", err)
	}
	return nil
}

// everyLane has each thread write PR_GET_TID_ADDRESS and its number.
func everyLane(arena *Arena, threads []*ptrace.Thread) error {
	jobs := make([]Job, len(threads))
	for i, th := range threads {
		lane := arena.Lane(i)
		clear(lane.Data)
		jobs[i] = Job{th, []Call{
			{Nr: unix.SYS_SET_TID_ADDRESS, Args: [6]uint64{uint64(1000 + i)}},
			{Nr: unix.SYS_PRCTL, Args: [6]uint64{unix.PR_GET_TID_ADDRESS, lane.At}},
			{Nr: unix.SYS_GETTID},
		}}
	}
	if err := arena.Each(jobs); err != nil {
		return err
	}
	for i, th := range threads {
		calls := jobs[i].Calls
		if got := binary.LittleEndian.Uint64(arena.Lane(i).Data); got != uint64(1000+i) || calls[2].Ret != int64(th.TID) {
			return fmt.Errorf("lane %d: address %d, number %d, results %+v", i, got, calls[2].Ret, calls)
		}
		if _, err := th.Registers(); err != nil {
			return fmt.Errorf("thread %d does not stand still: %w", th.TID, err)
		}
	}
	return nil
}

func arenaOf(th *ptrace.Thread) (*Arena, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", th.TID))
	if err != nil {
		return nil, err
	}
	p, err := place(string(maps))
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", th.TID))
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	gate, err := Gate(mem, p.VDSO)
	if err != nil {
		return nil, err
	}
	return NewArena(th, gate, p.Arena-ArenaSize)
}

// clones makes threads in one batch.
func clones(arena *Arena, leader *ptrace.Thread, n int) ([]*ptrace.Thread, error) {
	const flags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD | unix.CLONE_PTRACE
	calls := make([]Call, n)
	for i := range calls {
		calls[i] = Call{Nr: unix.SYS_CLONE, Args: [6]uint64{flags}}
	}
	if err := arena.Run(leader, calls, nil); err != nil {
		return nil, err
	}
	tids, err := procfs.ListTasks(leader.TID)
	if err != nil {
		return nil, err
	}
	var threads []*ptrace.Thread
	for _, tid := range tids {
		if tid == leader.TID {
			continue
		}
		th := ptrace.Attached(tid)
		if _, err := th.AwaitTrap(ptrace.Patience, nil); err != nil {
			return nil, err
		}
		threads = append(threads, th)
	}
	if len(threads) != n {
		return nil, fmt.Errorf("%d threads instead of %d", len(threads), n)
	}
	return threads, nil
}
