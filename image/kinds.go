package image

import (
	"fmt"
	"slices"

	"github.com/rethaw/rethaw/specs"
)

// anyFile stands for every type of open file description, in targets.
const anyFile specs.Type = 0

// targets says which types of objects a reference may lead to, by the struct and the
// field that it stands in.
var targets = map[string][]specs.Type{
	"Header.Root":        {specs.TypeTask},
	"Task.TTY":           {specs.TypeTerminal},
	"Task.Memory":        {specs.TypeMemory},
	"Task.FDs":           {specs.TypeFDs},
	"Task.FS":            {specs.TypeFS},
	"Task.Threads":       {specs.TypeThread},
	"Task.Exe":           {specs.TypeRegular, specs.TypeShared},
	"Memory.Parent":      {specs.TypeMemory},
	"Area.File":          {specs.TypeRegular, specs.TypeDevice, specs.TypeShared},
	"FS.Ghost":           {specs.TypeGhost},
	"FD.File":            {anyFile},
	"Watch.File":         {anyFile},
	"Lock.File":          {anyFile},
	"Lock.Table":         {specs.TypeFDs},
	"Regular.Ghost":      {specs.TypeGhost},
	"Directory.Ghost":    {specs.TypeGhost},
	"Path.Ghost":         {specs.TypeGhost},
	"Memfd.Object":       {specs.TypeShared},
	"SysVShm.Object":     {specs.TypeShared},
	"UnixSocket.Peer":    {specs.TypeUnixSocket},
	"UnixSocket.Pending": {specs.TypeUnixSocket},
	"Message.Files":      {anyFile},
	"TCP.Peer":           {specs.TypeInetSocket},
	"Waiting.Client":     {specs.TypeInetSocket},
}

// fits says whether a reference that stands in field may lead to r.
func fits(field string, r specs.Record) error {
	allowed, known := targets[field]
	if _, file := r.(specs.File); slices.Contains(allowed, r.RecordType()) || file && slices.Contains(allowed, anyFile) {
		return nil
	}
	if !known {
		return fmt.Errorf("nothing is known of what %s refers to", field)
	}
	return fmt.Errorf("%s refers to an object that is a %s", field, typeName(r))
}
