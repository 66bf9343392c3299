package specs

// Pidfd is a pidfd_open(2) descriptor.
type Pidfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	// PID is the number of the task (of the thread, with PIDFD_THREAD) in the
	// container, 0 if it has ended and nobody waits for it any more.
	PID int32 `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Pidfd) RecordType() Type { return TypePidfd }

// Validate implements Record.
func (p *Pidfd) Validate() error { return first(p.Description.validate(), pid("pid", p.PID)) }
