package specs

// Inotify is an inotify(7) instance, whose queue is empty.
type Inotify struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Watches are in the order of their numbers.
	Watches []InotifyWatch `cbor:"2,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Inotify) RecordType() Type { return TypeInotify }

// InotifyWatch is one watch of an Inotify.
type InotifyWatch struct {
	// WD is the watch descriptor that inotify_add_watch(2) gave.
	WD int32 `cbor:"1,keyasint,omitempty"`
	// Path is seen from the container's root.
	Path string `cbor:"2,keyasint,omitempty"`
	// Mask are IN_* with IN_ONESHOT and IN_EXCL_UNLINK.
	Mask uint32 `cbor:"3,keyasint,omitempty"`
}

// Validate implements Record.
func (i *Inotify) Validate() error {
	return first(i.Description.validate(), distinct("watch", i.Watches, func(w *InotifyWatch) int32 { return w.WD }),
		each("watch", i.Watches, func(w *InotifyWatch) error {
			return first(within("number", w.WD, 1, MaxWatch), path("path", w.Path))
		}))
}
