package specs

import "fmt"

// Types of records. 1..15 frame the image, 16..63 describe tasks and memory,
// 64..127 open file descriptions, 128..191 what belongs to the container.
const (
	TypeHeader Type = 1

	TypeTask   Type = 16
	TypeThread Type = 17
	TypeMemory Type = 18
	TypeFS     Type = 19
	TypeFDs    Type = 20
	TypeShared Type = 21
	TypeLock   Type = 22

	TypeRegular       Type = 64
	TypeDirectory     Type = 65
	TypePath          Type = 66
	TypeDevice        Type = 67
	TypeFIFO          Type = 68
	TypePipe          Type = 69
	TypeEventfd       Type = 70
	TypeEpoll         Type = 71
	TypeSignalfd      Type = 72
	TypeTimerfd       Type = 73
	TypeUnixSocket    Type = 74
	TypeInetSocket    Type = 75
	TypeTerminal      Type = 76
	TypeMemfd         Type = 77
	TypeStdio         Type = 78
	TypeGhost         Type = 79
	TypeProcFile      Type = 80
	TypeRequest       Type = 81
	TypePidfd         Type = 83
	TypeInotify       Type = 84
	TypeNetlinkSocket Type = 85

	TypeUTS     Type = 128
	TypeTmpfs   Type = 129
	TypeSysVShm Type = 130
	TypeSysVSem Type = 131
	TypeSysVMsg Type = 132
)

// constructors makes an empty record of each type; it is the one table that a
// new kind of record is added to.
var constructors = map[Type]func() Record{
	TypeHeader:        func() Record { return new(Header) },
	TypeTask:          func() Record { return new(Task) },
	TypeThread:        func() Record { return new(Thread) },
	TypeMemory:        func() Record { return new(Memory) },
	TypeFS:            func() Record { return new(FS) },
	TypeFDs:           func() Record { return new(FDs) },
	TypeShared:        func() Record { return new(Shared) },
	TypeLock:          func() Record { return new(Lock) },
	TypeRegular:       func() Record { return new(Regular) },
	TypeDirectory:     func() Record { return new(Directory) },
	TypePath:          func() Record { return new(Path) },
	TypeDevice:        func() Record { return new(Device) },
	TypeFIFO:          func() Record { return new(FIFO) },
	TypePipe:          func() Record { return new(Pipe) },
	TypeEventfd:       func() Record { return new(Eventfd) },
	TypeEpoll:         func() Record { return new(Epoll) },
	TypeSignalfd:      func() Record { return new(Signalfd) },
	TypeTimerfd:       func() Record { return new(Timerfd) },
	TypeUnixSocket:    func() Record { return new(UnixSocket) },
	TypeInetSocket:    func() Record { return new(InetSocket) },
	TypeTerminal:      func() Record { return new(Terminal) },
	TypeMemfd:         func() Record { return new(Memfd) },
	TypeStdio:         func() Record { return new(Stdio) },
	TypeGhost:         func() Record { return new(Ghost) },
	TypeProcFile:      func() Record { return new(ProcFile) },
	TypeRequest:       func() Record { return new(Request) },
	TypePidfd:         func() Record { return new(Pidfd) },
	TypeInotify:       func() Record { return new(Inotify) },
	TypeNetlinkSocket: func() Record { return new(NetlinkSocket) },
	TypeUTS:           func() Record { return new(UTS) },
	TypeTmpfs:         func() Record { return new(Tmpfs) },
	TypeSysVShm:       func() Record { return new(SysVShm) },
	TypeSysVSem:       func() Record { return new(SysVSem) },
	TypeSysVMsg:       func() Record { return new(SysVMsg) },
}

// New returns an empty record of type t, or an error that names a type which
// this version does not know.
func New(t Type) (Record, error) {
	make, ok := constructors[t]
	if !ok {
		return nil, fmt.Errorf("unknown record type %d: the image needs a newer rethaw", t)
	}
	return make(), nil
}

// Types returns every known type, in no particular order.
func Types() []Type {
	types := make([]Type, 0, len(constructors))
	for t := range constructors {
		types = append(types, t)
	}
	return types
}
