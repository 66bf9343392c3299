package specs

// IPCPerm is what the System V objects have in common (sysvipc(7)).
type IPCPerm struct {
	ID   int32  `cbor:"1,keyasint,omitempty"`
	Key  int32  `cbor:"2,keyasint,omitempty"`
	UID  uint32 `cbor:"3,keyasint,omitempty"`
	GID  uint32 `cbor:"4,keyasint,omitempty"`
	CUID uint32 `cbor:"5,keyasint,omitempty"`
	CGID uint32 `cbor:"6,keyasint,omitempty"`
	// Mode are the permissions.
	Mode uint32 `cbor:"7,keyasint,omitempty"`
}

// SysVShm is a segment of shared memory (shmget(2)).
type SysVShm struct {
	IPCPerm `cbor:"1,keyasint,omitempty"`
	// Size is in bytes.
	Size uint64 `cbor:"2,keyasint,omitempty"`
	// Object has the contents.
	Object ID `cbor:"3,keyasint,omitempty"`
	// Locked is SHM_LOCK of shmctl(2), Destroyed tells that the segment goes
	// with its last attach (IPC_RMID).
	Locked    bool `cbor:"4,keyasint,omitempty"`
	Destroyed bool `cbor:"5,keyasint,omitempty"`
	// NameKey is the key in the name that maps shows of a segment that is
	// attached: a destroyed one has no key any more.
	NameKey int32 `cbor:"6,keyasint,omitempty"`
}

// RecordType implements Record.
func (*SysVShm) RecordType() Type { return TypeSysVShm }

// SysVSem is a set of semaphores (semget(2)).
type SysVSem struct {
	IPCPerm `cbor:"1,keyasint,omitempty"`
	Values  []uint16 `cbor:"2,keyasint,omitempty"`
	// PIDs are, per semaphore, the processes that operated on it last
	// (semctl(2), GETPID), 0 for none or one outside.
	PIDs []int32 `cbor:"3,keyasint,omitempty"`
	// Undo is what is undone when processes end (semop(2), SEM_UNDO).
	Undo []SemUndo `cbor:"4,keyasint,omitempty"`
}

// RecordType implements Record.
func (*SysVSem) RecordType() Type { return TypeSysVSem }

// SemUndo is what one process gives back when it ends.
type SemUndo struct {
	PID int32 `cbor:"1,keyasint,omitempty"`
	// Semaphore is the number in the set, Adjust what is added to it.
	Semaphore uint16 `cbor:"2,keyasint,omitempty"`
	Adjust    int32  `cbor:"3,keyasint,omitempty"`
}

// SysVMsg is a message queue (msgget(2)).
type SysVMsg struct {
	IPCPerm  `cbor:"1,keyasint,omitempty"`
	MaxBytes uint64       `cbor:"2,keyasint,omitempty"`
	Messages []MsgMessage `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*SysVMsg) RecordType() Type { return TypeSysVMsg }

// MsgMessage is one message of a SysVMsg.
type MsgMessage struct {
	Type int64  `cbor:"1,keyasint,omitempty"`
	Data []byte `cbor:"2,keyasint,omitempty"`
}

// Bounds of ipc(5): IPCMNI of a kernel with ipcmni_extend, SEMVMX, SEMMSL.
const (
	maxIPC         = 1<<31 - 1
	maxSemaphore   = 32767
	maxSemaphores  = 1 << 20
	maxMessage     = 1 << 30
	maxMessages    = 1 << 22
	permissionBits = 0o777
)

func (p *IPCPerm) validate() error {
	return first(within("id", p.ID, 0, maxIPC), within("mode", p.Mode, 0, permissionBits), ownable(p.UID, p.GID), ownable(p.CUID, p.CGID))
}

// Validate implements Record.
func (s *SysVShm) Validate() error {
	return first(s.IPCPerm.validate(), within("size", s.Size, 1, MaxObject), present("object", s.Object))
}

// Validate implements Record.
func (s *SysVSem) Validate() error {
	return first(s.IPCPerm.validate(), within("number of semaphores", len(s.Values), 1, maxSemaphores),
		oneOf("number of last users", len(s.PIDs), 0, len(s.Values)), atMost("undo", len(s.Undo), maxSemaphores),
		each("semaphore", s.Values, func(v *uint16) error { return within("value", int(*v), 0, maxSemaphore) }),
		each("last user", s.PIDs, func(p *int32) error { return pid("pid", *p) }),
		each("undo", s.Undo, func(u *SemUndo) error {
			return first(pid("pid", u.PID), within("semaphore", int(u.Semaphore), 0, len(s.Values)-1), within("adjustment", u.Adjust, -maxSemaphore, maxSemaphore))
		}))
}

// Validate implements Record.
func (m *SysVMsg) Validate() error {
	return first(m.IPCPerm.validate(), within("size", m.MaxBytes, 0, MaxObject), atMost("messages", len(m.Messages), maxMessages),
		each("message", m.Messages, func(g *MsgMessage) error {
			return first(within("type", g.Type, 1, 1<<63-1), atMost("data", len(g.Data), maxMessage))
		}))
}
