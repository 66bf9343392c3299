package sleeping

import "golang.org/x/sys/unix"

func legacyCalls(do func(int, ...uintptr) unix.Errno, _, ms func(int64) uintptr,
	epoll, events func() uintptr) map[string]func(int64) unix.Errno {
	return map[string]func(int64) unix.Errno{
		"poll": func(ns int64) unix.Errno { return do(unix.SYS_POLL, 0, 0, ms(ns)) },
		"select": func(ns int64) unix.Errno {
			if ns < 0 {
				return do(unix.SYS_SELECT)
			}
			tv := unix.NsecToTimeval(ns)
			return do(unix.SYS_SELECT, 0, 0, 0, 0, keep(&tv))
		},
		"epoll_wait": func(ns int64) unix.Errno {
			e := epoll()
			defer unix.Close(int(e))
			return do(unix.SYS_EPOLL_WAIT, e, events(), 16, ms(ns))
		},
	}
}
