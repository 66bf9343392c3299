package specs

// UTS is the container's UTS namespace (uts_namespaces(7)).
type UTS struct {
	Hostname   string `cbor:"1,keyasint,omitempty"`
	Domainname string `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*UTS) RecordType() Type { return TypeUTS }

// Validate implements Record. __NEW_UTS_LEN is 64.
func (u *UTS) Validate() error {
	return first(text("host name", u.Hostname, 64), text("domain name", u.Domainname, 64))
}
