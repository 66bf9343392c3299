package specs

// Classes of locks.
const (
	// LockPOSIX is a lock of F_SETLK (fcntl_locking(2)): it belongs to all
	// processes with one table of descriptors.
	LockPOSIX = "posix"
	// LockOFD is one of F_OFD_SETLK, LockFlock one of flock(2), LockLease one of
	// F_SETLEASE (fcntl(2)): they belong to the open file description.
	LockOFD   = "ofd"
	LockFlock = "flock"
	LockLease = "lease"
)

// Lock is a lock that is held on a file, or a lease on it.
type Lock struct {
	// Class is "posix", "ofd", "flock" or "lease".
	Class string `cbor:"1,keyasint,omitempty"`
	// File is the description by which it was taken, Table for a POSIX lock the
	// table of descriptors that it belongs to.
	File  ID `cbor:"2,keyasint,omitempty"`
	Table ID `cbor:"3,keyasint,omitempty"`
	// PID is the process that took it, 0 if that is not in the image.
	PID int32 `cbor:"4,keyasint,omitempty"`
	// Exclusive is true for F_WRLCK and LOCK_EX, false for F_RDLCK and LOCK_SH.
	Exclusive bool `cbor:"5,keyasint,omitempty"`
	// Start is the first byte of a POSIX or OFD lock, Length how many bytes it
	// covers, 0 for all to the end of the file, however long it grows.
	Start  int64 `cbor:"6,keyasint,omitempty"`
	Length int64 `cbor:"7,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Lock) RecordType() Type { return TypeLock }

// Validate implements Record.
func (l *Lock) Validate() error {
	return first(oneOf("class", l.Class, LockPOSIX, LockOFD, LockFlock, LockLease), pid("taker", l.PID),
		within("start", l.Start, 0, MaxTime), within("length", l.Length, 0, MaxTime-l.Start))
}
