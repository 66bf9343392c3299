package specs

// Eventfd is an eventfd(2).
type Eventfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Count       uint64 `cbor:"2,keyasint,omitempty"`
	Semaphore   bool   `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Eventfd) RecordType() Type { return TypeEventfd }

// Validate implements Record.
func (e *Eventfd) Validate() error {
	// One less than what does not fit is the highest count (eventfd(2)).
	return first(e.Description.validate(), within("count", e.Count, 0, 1<<64-2))
}
