package specs

// Request is the program's end of a connection to rethaw's own socket, on which it
// waits for the answer to its request for this image. Its other end is outside; a restored
// program gets a fresh one with the answer in it.
type Request struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Shutdown is 1 for reading, 2 for writing, 3 for both, as of shutdown(2).
	Shutdown int32 `cbor:"2,keyasint,omitempty"`
	// Options are those of setsockopt(2).
	Options []SocketOption `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Request) RecordType() Type { return TypeRequest }

// Validate implements Record.
func (r *Request) Validate() error {
	return first(r.Description.validate(), within("shutdown", r.Shutdown, 0, 3), options(r.Options))
}
