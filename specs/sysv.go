package specs

// IPCPerm is what the System V objects have in common (sysvipc(7)).
type IPCPerm struct {
	ID   int32  `cbor:"1,keyasint,omitempty"`
	Key  int32  `cbor:"2,keyasint,omitempty"`
	UID  uint32 `cbor:"3,keyasint,omitempty"`
	GID  uint32 `cbor:"4,keyasint,omitempty"`
	CUID uint32 `cbor:"5,keyasint,omitempty"`
	CGID uint32 `cbor:"6,keyasint,omitempty"`
	Mode uint32 `cbor:"7,keyasint,omitempty"`
	Seq  uint32 `cbor:"8,keyasint,omitempty"`
}

// SysVShm is a segment of shared memory (shmget(2)).
type SysVShm struct {
	IPCPerm `cbor:"1,keyasint,omitempty"`
	Size    uint64 `cbor:"2,keyasint,omitempty"`
	// Object has the contents.
	Object ID `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*SysVShm) RecordType() Type { return TypeSysVShm }

// SysVSem is a set of semaphores (semget(2)).
type SysVSem struct {
	IPCPerm `cbor:"1,keyasint,omitempty"`
	Values  []uint16 `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*SysVSem) RecordType() Type { return TypeSysVSem }

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
