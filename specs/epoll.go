package specs

// Epoll is an epoll(7) instance.
type Epoll struct {
	Description `cbor:"1,keyasint,omitempty"`
	Watches     []Watch `cbor:"2,keyasint,omitempty"`
	// BusyPollUsecs, BusyPollBudget and PreferBusyPoll are those of EPIOCGPARAMS
	// (ioctl_eventpoll(2), since Linux 6.9).
	BusyPollUsecs  uint32 `cbor:"3,keyasint,omitempty"`
	BusyPollBudget uint32 `cbor:"4,keyasint,omitempty"`
	PreferBusyPoll bool   `cbor:"5,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Epoll) RecordType() Type { return TypeEpoll }

// Watch is one registered descriptor of an Epoll.
type Watch struct {
	// FD is the number under which the file was registered, File what it led to
	// then (which may be under another number now, or none).
	FD   int32 `cbor:"1,keyasint,omitempty"`
	File ID    `cbor:"2,keyasint,omitempty"`
	// Events are EPOLL* with flags, Data the user's 64 bits. A watch with
	// EPOLLONESHOT and no event has fired.
	Events uint32 `cbor:"3,keyasint,omitempty"`
	Data   uint64 `cbor:"4,keyasint,omitempty"`
}

// Validate implements Record.
func (e *Epoll) Validate() error {
	return first(e.Description.validate(), each("watch", e.Watches, func(w *Watch) error {
		return first(within("descriptor", w.FD, 0, MaxFD), present("file", w.File))
	}))
}
