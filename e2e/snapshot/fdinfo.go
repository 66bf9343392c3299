package snapshot

import (
	"fmt"
	"slices"
	"strings"
)

// fdinfo takes every line of a descriptor's fdinfo (proc(5)).
func (l *look) fdinfo(facts Facts, text string) {
	lines := map[string][]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if strings.HasPrefix(line, "inotify ") || strings.HasPrefix(line, "fanotify ") {
			key, value = "watch", line
		}
		lines[key] = append(lines[key], strings.Join(strings.Fields(value), " "))
	}
	for key, values := range lines {
		if key == "tfd" {
			// The kernel's order follows addresses of its own.
			slices.SortFunc(values, func(a, b string) int { return int(number(a)) - int(number(b)) })
		}
		for i, value := range values {
			values[i] = l.fdinfoValue(key, value)
		}
		if text := strings.Join(values, "\n"); text != "" {
			l.put(facts, "file", "fdinfo "+key, text)
		}
	}
}

// number is the decimal number that a text begins with.
func number(text string) int64 {
	var n int64
	_, _ = fmt.Sscanf(text, "%d", &n)
	return n
}

// fdinfoValue makes a value comparable; empty leaves it out.
func (l *look) fdinfoValue(key, value string) string {
	switch key {
	case "mnt_id":
		if point, ok := l.mounts[value]; ok {
			return point
		}
		return "a mount of the kernel's or of another namespace"
	case "ino": // in file as "inode", or of an anonymous object
		return ""
	case "eventfd-id":
		return l.same("eventfd", value)
	case "it_value":
		if value == "(0, 0)" {
			return "disarmed"
		}
		return "armed"
	case "Pid":
		return l.pid(value)
	case "tfd":
		return l.watched(value)
	case "watch":
		return l.watch(value)
	case "lock":
		return l.lock(value)
	case "NSpid":
		return lastField(value)
	}
	return value
}

// watched is a line of epoll: target, events, data, and the inode of the target,
// which the descriptor itself tells.
func (l *look) watched(value string) string {
	fields := strings.Fields(value)
	var kept []string
	for i := 0; i < len(fields); i++ {
		field := fields[i]
		if strings.HasPrefix(field, "ino:") || strings.HasPrefix(field, "sdev:") {
			continue
		}
		kept = append(kept, field)
	}
	return strings.Join(kept, " ")
}

// watch is a line of inotify: wd, ino, sdev, mask, and a file handle with the
// inode number again.
func (l *look) watch(value string) string {
	var kept []string
	for _, field := range strings.Fields(value) {
		if strings.HasPrefix(field, "f_handle:") {
			continue
		}
		// A fresh container's tmpfs has another device number.
		if number, ok := strings.CutPrefix(field, "sdev:"); ok {
			field = "sdev:" + l.same("sdev", number)
		}
		kept = append(kept, field)
	}
	return strings.Join(kept, " ")
}

// lock is a line of a held lock: number, kind, mode, access, pid, device and
// inode, range.
func (l *look) lock(value string) string {
	fields := strings.Fields(value)
	if len(fields) < 8 {
		return value
	}
	return strings.Join(slices.Concat(fields[1:4], []string{l.pid(fields[4])}, fields[6:]), " ")
}
