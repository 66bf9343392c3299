package kmem

import (
	"encoding/binary"
	"fmt"
)

// gathered is how many words one run of the gathering program reads.
const gathered = 16

// gatherProgram replaces each address in its context by the word that is there. A
// run costs little more than one that reads a single word.
func gatherProgram() (*program, error) {
	code := [][]byte{insn(opMove, 6, 1, 0, 0)}
	for i := range gathered {
		at := int16(8 * i)
		code = append(code,
			insn(opLoad, 3, 6, at, 0),
			insn(opMove, 1, frame, 0, 0),
			insn(opAdd, 1, 0, 0, -8),
			insn(opSet, 2, 0, 0, 8),
			insn(opCall, 0, 0, 0, readKern),
			insn(opIfZero, 0, 0, 1, 0),
			insn(opExit, 0, 0, 0, 0),
			insn(opLoad, 1, frame, -8, 0),
			insn(opStore, 6, 1, at, 0))
	}
	return load(8*gathered, append(code, insn(opSet, 0, 0, 0, 0), insn(opExit, 0, 0, 0, 0))...)
}

// Words replaces each of the addresses, at most 16, by the 8 bytes that are there.
func (r *Reader) Words(addrs []uint64) error {
	if r.gather == nil {
		p, err := gatherProgram()
		if err != nil {
			return err
		}
		r.gather = p
	}
	room := r.gather.room
	for i := range gathered {
		// What is not asked for is read from a place that is there.
		binary.NativeEndian.PutUint64(room[8*i:], addrs[min(i, len(addrs)-1)])
	}
	if err := r.gather.run(); err != nil {
		return fmt.Errorf("%#x: %w", addrs, err)
	}
	for i := range addrs {
		addrs[i] = binary.NativeEndian.Uint64(room[8*i:])
	}
	return nil
}
