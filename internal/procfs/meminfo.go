package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Meminfo is what /proc/meminfo tells of memory that is left, in bytes (proc_meminfo(5)).
type Meminfo struct {
	// Available is how much can be had without swapping, page cache that can be given up included.
	Available uint64
	// SwapFree is how much room there is for what is swapped out.
	SwapFree uint64
}

// ParseMeminfo reads /proc/meminfo.
func ParseMeminfo(b []byte) (Meminfo, error) {
	const file = "meminfo"
	var m Meminfo
	want := map[string]*uint64{"MemAvailable:": &m.Available, "SwapFree:": &m.SwapFree}
	number := 0
	for line := range bytes.Lines(b) {
		number++
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		to := want[string(fields[0])]
		if to == nil {
			continue
		}
		if len(fields) != 3 || string(fields[2]) != "kB" {
			return Meminfo{}, badLine(file, number, line, "it is not a size in kB")
		}
		n, err := strconv.ParseUint(string(fields[1]), 10, 54)
		if err != nil {
			return Meminfo{}, badLine(file, number, line, "its size is not a number")
		}
		*to = n << 10
		delete(want, string(fields[0]))
	}
	if want["MemAvailable:"] != nil {
		return Meminfo{}, fmt.Errorf("%s: %w", file, errors.New("no MemAvailable"))
	}
	return m, nil
}

// ReadMeminfo reads /proc/meminfo.
func ReadMeminfo() (Meminfo, error) { return read(0, "meminfo", ParseMeminfo) }
