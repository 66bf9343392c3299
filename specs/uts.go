package specs

// UTS is the container's UTS namespace (uts_namespaces(7)).
type UTS struct {
	Hostname   string `cbor:"1,keyasint,omitempty"`
	Domainname string `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*UTS) RecordType() Type { return TypeUTS }
