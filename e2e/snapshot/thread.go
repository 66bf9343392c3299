package snapshot

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Indices of fields in what readStat returns: proc(5) numbers them from 1, of
// which pid and comm are cut off.
const (
	statState = 0
	statPPid  = 1
)

// statFacts are the fields of /proc/PID/stat that do not change by themselves, by
// their number in proc(5). Left out: flags (PF_* bits that tell how a task came
// to be, such as forked-without-exec), faults, times, sizes, addresses that are 0
// unless the task is dead, masks that status has too, and the processor.
var statFacts = map[int]string{
	7: "tty_nr", 18: "priority", 19: "nice", 20: "num_threads", 26: "startcode", 27: "endcode", 28: "startstack",
	38: "exit_signal", 40: "rt_priority", 41: "policy", 45: "start_data", 46: "end_data", 47: "start_brk",
	48: "arg_start", 49: "arg_end", 50: "env_start", 51: "env_end", 52: "exit_code",
}

// statusSkip are the lines of status that change by themselves, or that are taken
// from the lines with the container's numbers.
var statusSkip = map[string]bool{
	"Pid": true, "Tgid": true, "Ngid": true, "FDSize": true, "HugetlbPages": true,
	"voluntary_ctxt_switches": true, "nonvoluntary_ctxt_switches": true,
}

// statusNumbers are lists of numbers, one for each pid namespace; the last is the
// container's.
var statusNumbers = map[string]bool{"NStgid": true, "NSpid": true, "NSpgid": true, "NSsid": true}

// readStat returns the fields after the comm.
func readStat(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	end := strings.LastIndex(string(text), ") ")
	if end < 0 {
		return nil, fmt.Errorf("%s: no comm in %q", path, text)
	}
	fields := strings.Fields(string(text[end+2:]))
	if len(fields) < 50 {
		return nil, fmt.Errorf("%s: %d fields", path, len(fields))
	}
	return fields, nil
}

// readStatus returns the lines of a status file by their key.
func readStatus(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			lines[key] = strings.Join(strings.Fields(value), " ")
		}
	}
	return lines, nil
}

// thread looks at one task of a process.
func (l *look) thread(pid, tid int) (Facts, error) {
	dir := fmt.Sprintf("/proc/%d/task/%d", pid, tid)
	facts := Facts{}
	status, err := readStatus(dir + "/status")
	if err != nil {
		return nil, err
	}
	for key, value := range status {
		if statusSkip[key] || strings.HasPrefix(key, "Vm") || strings.HasPrefix(key, "Rss") {
			continue
		}
		l.put(facts, "thread", key, l.statusValue(key, value))
	}
	fields, err := readStat(dir + "/stat")
	if err != nil {
		return nil, err
	}
	for number, name := range statFacts {
		if number-3 < len(fields) {
			l.put(facts, "thread", "stat "+name, fields[number-3])
		}
	}
	l.put(facts, "thread", "stat tpgid", l.pid(fields[8-3]))
	if pid != tid {
		for _, table := range kcmpKinds[1:3] {
			l.put(facts, "thread", "shares "+table.name, strconv.FormatBool(kcmp(tid, pid, table.kind, 0, 0)))
		}
	}
	l.put(facts, "thread", "ioprio", ioprio(tid))
	l.put(facts, "thread", "robust list", robustList(tid))
	if !l.options.Position {
		return facts, nil
	}
	text, err := l.text(dir, "syscall")
	l.put(facts, "thread", "position", position(text))
	return facts, err
}

// statusValue makes a line of status comparable.
func (l *look) statusValue(key, value string) string {
	switch {
	case statusNumbers[key]:
		return lastField(value)
	case key == "PPid", key == "TracerPid":
		return l.pid(value)
	case key == "SigQ": // pending/limit, the former of all tasks of that user
		_, limit, _ := strings.Cut(value, "/")
		return limit
	case key == "State" && value != "" && strings.Contains("RSDI", value[:1]):
		return "alive"
	}
	return value
}

// restartable are the system calls that go on as restart_syscall after a stop,
// with their arguments in the kernel: nanosleep, poll, futex, clock_nanosleep and
// restart_syscall itself, on amd64.
var restartable = map[string]bool{"35": true, "7": true, "202": true, "230": true, "219": true}

// position makes /proc/TID/syscall comparable: number, six arguments, stack
// pointer and program counter.
func position(text string) string {
	fields := strings.Fields(text)
	if len(fields) == 9 && restartable[fields[0]] {
		return "restartable " + strings.Join(fields[7:], " ")
	}
	return strings.TrimSpace(text)
}

func ioprio(tid int) string {
	const whoProcess = 1 // IOPRIO_WHO_PROCESS
	value, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(tid), 0)
	if errno != 0 {
		return errno.Error()
	}
	return strconv.Itoa(int(value))
}

// robustList returns what set_robust_list(2) registered.
func robustList(tid int) string {
	var head, size uintptr
	_, _, errno := unix.Syscall(unix.SYS_GET_ROBUST_LIST, uintptr(tid), uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return errno.Error()
	}
	return fmt.Sprintf("%#x", head)
}
