package specs

// Signalfd is a signalfd(2).
type Signalfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Mask        uint64 `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Signalfd) RecordType() Type { return TypeSignalfd }

// Validate implements Record.
func (s *Signalfd) Validate() error { return s.Description.validate() }
