package specs

// Eventfd is an eventfd(2).
type Eventfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Count       uint64 `cbor:"2,keyasint,omitempty"`
	Semaphore   bool   `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Eventfd) RecordType() Type { return TypeEventfd }
