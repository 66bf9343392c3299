package specs

import "fmt"

// Description is what every open file description has (struct file): it is
// embedded in the record of each kind.
type Description struct {
	// Flags are the status flags of fcntl(F_GETFL) with the access mode.
	Flags uint32 `cbor:"1,keyasint,omitempty"`
	// Position is the file offset in bytes.
	Position int64 `cbor:"2,keyasint,omitempty"`
	// OwnerType and Owner are those of F_GETOWN_EX in pids of the container
	// (OwnerType is the F_OWNER_* value plus one, 0 for no owner), Signal that of
	// F_GETSIG.
	OwnerType int32 `cbor:"3,keyasint,omitempty"`
	Owner     int32 `cbor:"4,keyasint,omitempty"`
	Signal    int32 `cbor:"5,keyasint,omitempty"`
	// OwnerUID and OwnerEUID are those of F_GETOWNER_UIDS.
	OwnerUID  uint32 `cbor:"6,keyasint,omitempty"`
	OwnerEUID uint32 `cbor:"7,keyasint,omitempty"`
}

// Base returns the description, for code that handles all kinds alike.
func (d *Description) Base() *Description { return d }

// File is the record of an open file description of any kind.
type File interface {
	Record
	Base() *Description
}

// Regular is an open regular file that a path leads to (or a file that is only
// mapped).
type Regular struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Path is seen from the container's root.
	Path string `cbor:"2,keyasint,omitempty"`
	// Ghost is the ID of the deleted file that this leads to, 0 for a living one.
	Ghost ID `cbor:"3,keyasint,omitempty"`
	// Size and Mtime (nanoseconds) are those of the file at checkpoint; Mode
	// its type and permissions.
	Size  int64  `cbor:"4,keyasint,omitempty"`
	Mtime int64  `cbor:"5,keyasint,omitempty"`
	Mode  uint32 `cbor:"6,keyasint,omitempty"`
	// Link is another name of the file, by which it is reached when Path, the
	// one by which it was opened, has been removed.
	Link string `cbor:"7,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Regular) RecordType() Type { return TypeRegular }

// Ghost is a file or a directory without a name: deleted but open or mapped.
// The contents of a file are in the image.
type Ghost struct {
	// Path is where it was; a temporary name in the same directory is used to
	// make it again.
	Path  string   `cbor:"1,keyasint,omitempty"`
	Mode  uint32   `cbor:"2,keyasint,omitempty"`
	UID   uint32   `cbor:"3,keyasint,omitempty"`
	GID   uint32   `cbor:"4,keyasint,omitempty"`
	Size  int64    `cbor:"5,keyasint,omitempty"`
	Mtime int64    `cbor:"6,keyasint,omitempty"`
	Atime int64    `cbor:"7,keyasint,omitempty"`
	Pages []Extent `cbor:"8,keyasint,omitempty"`
	// TmpFlags are the flags with which the file was made, if that was without a
	// name (O_TMPFILE of open(2)).
	TmpFlags uint32 `cbor:"9,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Ghost) RecordType() Type { return TypeGhost }

// Directory is an open directory.
type Directory struct {
	Description `cbor:"1,keyasint,omitempty"`
	Path        string `cbor:"2,keyasint,omitempty"`
	// Ghost is the ID of the removed directory that this leads to.
	Ghost ID `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Directory) RecordType() Type { return TypeDirectory }

// Path is a file opened with O_PATH, of any type.
type Path struct {
	Description `cbor:"1,keyasint,omitempty"`
	Path        string `cbor:"2,keyasint,omitempty"`
	Mode        uint32 `cbor:"3,keyasint,omitempty"`
	// Ghost is the ID of the deleted file or directory that this leads to, Link
	// another name of the file, as in Regular.
	Ghost ID     `cbor:"4,keyasint,omitempty"`
	Link  string `cbor:"5,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Path) RecordType() Type { return TypePath }

// Device is a character device that needs no state: null, zero, full, random,
// urandom, tty.
type Device struct {
	Description `cbor:"1,keyasint,omitempty"`
	Path        string `cbor:"2,keyasint,omitempty"`
	Major       uint32 `cbor:"3,keyasint,omitempty"`
	Minor       uint32 `cbor:"4,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Device) RecordType() Type { return TypeDevice }

// ProcFile is an open file of procfs or sysfs; one below /proc/PID belongs to
// that task.
type ProcFile struct {
	Description `cbor:"1,keyasint,omitempty"`
	Path        string `cbor:"2,keyasint,omitempty"`
	Dir         bool   `cbor:"3,keyasint,omitempty"`
}

// RecordType implements Record.
func (*ProcFile) RecordType() Type { return TypeProcFile }

// Stdio is a description that leads out of the container to what the runtime
// gave its init: it takes the fresh container's own descriptor of that role.
type Stdio struct {
	Description `cbor:"1,keyasint,omitempty"`
	// Role is 0, 1 or 2 (stdin, stdout, stderr).
	Role int32 `cbor:"2,keyasint,omitempty"`
	// Was tells what it was, for people: "pipe:[5]", "/var/log/x.log"...
	Was string `cbor:"3,keyasint,omitempty"`
	// Again is true for another description of the same file, one that was opened
	// by way of /dev/stdout or the like.
	Again bool `cbor:"4,keyasint,omitempty"`
	// Mode, Dev and Ino are those of stat(2). If the fresh one is the same regular
	// file its position goes on.
	Mode uint32 `cbor:"5,keyasint,omitempty"`
	Dev  uint64 `cbor:"6,keyasint,omitempty"`
	Ino  uint64 `cbor:"7,keyasint,omitempty"`
}

// RecordType implements Record.
func (*Stdio) RecordType() Type { return TypeStdio }

// validate checks what all kinds have.
func (d *Description) validate() error {
	return first(
		within("owner type", d.OwnerType, 0, 3), within("owner", d.Owner, -MaxPID, MaxPID),
		signal("signal", d.Signal), within("position", d.Position, 0, 1<<63-1),
	)
}

// Validate implements Record.
func (r *Regular) Validate() error {
	return first(r.Description.validate(), path("path", r.Path), anyPath("link", r.Link),
		within("size", r.Size, 0, 1<<63-1), within("mode", r.Mode, 0, 0o177777))
}

// Validate implements Record.
func (g *Ghost) Validate() error {
	return first(path("path", g.Path), within("size", g.Size, 0, 1<<63-1), ownable(g.UID, g.GID),
		oneOf("type", g.Mode&0o170000, 0o100000, 0o040000), within("mode", g.Mode, 0, 0o177777))
}

// Validate implements Record.
func (d *Directory) Validate() error { return first(d.Description.validate(), path("path", d.Path)) }

// Validate implements Record.
func (p *Path) Validate() error {
	return first(p.Description.validate(), path("path", p.Path), anyPath("link", p.Link), within("mode", p.Mode, 0, 0o177777))
}

// Validate implements Record.
func (d *Device) Validate() error {
	return first(d.Description.validate(), path("path", d.Path),
		// Devices with more state are not saved (mem(4)).
		oneOf("device", [2]uint32{d.Major, d.Minor}, [2]uint32{1, 3}, [2]uint32{1, 5}, [2]uint32{1, 7}, [2]uint32{1, 8}, [2]uint32{1, 9}))
}

// Validate implements Record.
func (p *ProcFile) Validate() error { return first(p.Description.validate(), path("path", p.Path)) }

// Validate implements Record.
func (s *Stdio) Validate() error {
	return first(s.Description.validate(), within("role", s.Role, 0, 2), text("former name", s.Was, 2*MaxPath))
}

// present says whether a reference that must be there is.
func present(name string, id ID) error {
	if id == 0 {
		return fmt.Errorf("%s is missing", name)
	}
	return nil
}

// noID is (uid_t)-1, which owns nothing.
const noID = 1<<32 - 1

// ownable says whether numbers can be those of an owner.
func ownable(uid, gid uint32) error {
	return first(within("uid", uid, 0, noID-1), within("gid", gid, 0, noID-1))
}
