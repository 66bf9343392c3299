package specs

// Timerfd is a timerfd_create(2) timer; times are in nanoseconds.
type Timerfd struct {
	Description `cbor:"1,keyasint,omitempty"`
	Clock       int32 `cbor:"2,keyasint,omitempty"`
	// Ticks are expirations that nobody has read.
	Ticks    uint64 `cbor:"3,keyasint,omitempty"`
	SetFlags uint32 `cbor:"4,keyasint,omitempty"`
	// Left is the time to the next expiration, 0 for a disarmed timer.
	Left     int64 `cbor:"5,keyasint,omitempty"`
	Interval int64 `cbor:"6,keyasint,omitempty"`
	// Date is the next expiration on the timer's clock, for one that was set
	// with TFD_TIMER_ABSTIME and is armed.
	Date int64 `cbor:"7,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Timerfd) RecordType() Type { return TypeTimerfd }

// Validate implements Record. Clocks are those of timerfd_create(2).
func (t *Timerfd) Validate() error {
	return first(t.Description.validate(), oneOf("clock", t.Clock, 0, 1, 7, 8, 9), subset("flags", t.SetFlags, 3),
		within("time left", t.Left, 0, MaxTime), within("interval", t.Interval, 0, MaxTime))
}
