package procfs

import (
	"bytes"
	"strconv"
)

// IPCObject is one line of /proc/sysvipc/{shm,sem,msg} (sysvipc(7), proc(5)): a
// System V object of the reader's IPC namespace. Users and groups are those of
// the reader's user namespace.
type IPCObject struct {
	Key, ID int32
	// Mode has the permissions; for shared memory also IPCDest and IPCLocked.
	Mode                 uint32
	UID, GID, CUID, CGID uint32
	// Size is the length of a segment in bytes, the number of semaphores of a
	// set, the bytes of the messages in a queue. Messages is their number.
	Size, Messages uint64
	// Attached counts the attaches of a segment.
	Attached uint64
}

// Bits of the mode of a segment (include/linux/shm.h).
const (
	IPCDest   = 0o1000
	IPCLocked = 0o2000
)

// ipcColumns are where the fields of the three files stand; -1 for none.
type ipcColumns struct{ total, size, messages, attached, owners int }

var (
	shmColumns = ipcColumns{total: 14, size: 3, messages: -1, attached: 6, owners: 7}
	semColumns = ipcColumns{total: 10, size: 3, messages: -1, attached: -1, owners: 4}
	msgColumns = ipcColumns{total: 14, size: 3, messages: 4, attached: -1, owners: 7}
)

// ParseSysVShm reads /proc/sysvipc/shm.
func ParseSysVShm(b []byte) ([]IPCObject, error) { return parseIPC("sysvipc/shm", b, &shmColumns) }

// ParseSysVSem reads /proc/sysvipc/sem.
func ParseSysVSem(b []byte) ([]IPCObject, error) { return parseIPC("sysvipc/sem", b, &semColumns) }

// ParseSysVMsg reads /proc/sysvipc/msg.
func ParseSysVMsg(b []byte) ([]IPCObject, error) { return parseIPC("sysvipc/msg", b, &msgColumns) }

// ReadSysV reads what the three parsers take, for the IPC namespace of the
// calling thread.
func ReadSysV() (shm, sem, msg []IPCObject, err error) {
	if shm, err = read(0, "sysvipc/shm", ParseSysVShm); err != nil {
		return nil, nil, nil, err
	}
	if sem, err = read(0, "sysvipc/sem", ParseSysVSem); err != nil {
		return nil, nil, nil, err
	}
	if msg, err = read(0, "sysvipc/msg", ParseSysVMsg); err != nil {
		return nil, nil, nil, err
	}
	return shm, sem, msg, nil
}

func parseIPC(file string, b []byte, c *ipcColumns) ([]IPCObject, error) {
	var list []IPCObject
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b = nextLine(b)
		if n == 1 {
			continue // the names of the columns
		}
		o, ok := parseIPCLine(bytes.Fields(line), c)
		if !ok {
			return nil, badLine(file, n, line, "not understood")
		}
		list = append(list, o)
	}
	return list, nil
}

func parseIPCLine(f [][]byte, c *ipcColumns) (IPCObject, bool) {
	var o IPCObject
	if len(f) < c.total {
		return o, false
	}
	ok := true
	number := func(i, base, bits int) uint64 {
		if i < 0 {
			return 0
		}
		v, err := strconv.ParseUint(string(f[i]), base, bits)
		ok = ok && err == nil
		return v
	}
	key, err := strconv.ParseInt(string(f[0]), 10, 32)
	ok = err == nil
	o.Key, o.ID = int32(key), int32(number(1, 10, 31))
	o.Mode = uint32(number(2, 8, 32))
	o.Size, o.Messages, o.Attached = number(c.size, 10, 64), number(c.messages, 10, 64), number(c.attached, 10, 64)
	for i, to := range []*uint32{&o.UID, &o.GID, &o.CUID, &o.CGID} {
		*to = uint32(number(c.owners+i, 10, 32))
	}
	return o, ok
}
