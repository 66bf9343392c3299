// Package xstate brings the extended state of a thread from one processor to another.
//
// It comes and goes in the standard format of XSAVE (Intel SDM vol. 1, 13.4): 512 bytes of x87 and SSE, a header of 64 bytes
// with a bit for each component that is in use, and then the components, each at a place that CPUID tells. The places
// differ between makers (AVX-512 stands at 832 on AMD, at 1088 on Intel), and the size goes with what the processor and the kernel know:
// PTRACE_SETREGSET takes nothing but the size of this machine. Processors without XSAVE have the first 512 bytes alone.
package xstate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Component is one part of the extended state beyond x87 and SSE.
type Component struct {
	// Number is its bit in XCR0: 2 is AVX, 5 to 7 AVX-512, 9 PKRU, 17 and 18 AMX.
	Number uint32
	// Offset and Size are its place, in bytes.
	Offset, Size uint32
}

const (
	// legacySize is the part for x87 and SSE, headerEnd where components may begin.
	legacySize = 512
	headerEnd  = 576
	legacyBits = 1<<0 | 1<<1
)

// avx is where AVX has been from the beginning.
var avx = Component{Number: 2, Offset: headerEnd, Size: 256}

// ErrLacking is what this processor, or its kernel, has no place for.
var ErrLacking = errors.New("this processor lacks a part of it")

// names are those of the components in the manual.
var names = map[uint32]string{2: "AVX", 3: "MPX bounds", 4: "MPX configuration", 5: "AVX-512 masks", 6: "AVX-512 upper halves", 7: "AVX-512 registers 16 to 31",
	9: "protection keys (PKRU)", 17: "AMX configuration", 18: "AMX tiles", 19: "APX registers"}

// Convert brings a state of a processor with the components from to one with the components to, whose states have size
// bytes. Who does not know from gives nil: then AVX alone has its place. Components that are not in use (in their initial state) take
// no part.
func Convert(state []byte, from, to []Component, size int) ([]byte, error) {
	if len(state) == size && (slices.Equal(from, to) || from == nil) {
		return state, nil
	}
	if len(state) < legacySize || size < legacySize {
		return nil, fmt.Errorf("extended state of %d bytes", len(state))
	}
	used := uint64(legacyBits)
	if len(state) >= headerEnd {
		used = binary.LittleEndian.Uint64(state[legacySize:])
	}
	out := make([]byte, size)
	copy(out, state[:legacySize])
	if size >= headerEnd {
		binary.LittleEndian.PutUint64(out[legacySize:], used)
	}
	for n := uint32(2); n < 64; n++ {
		if used&(1<<n) == 0 {
			continue
		}
		source, target := find(from, n), find(to, n)
		switch {
		case source == nil && n == avx.Number:
			source = &avx
		case source == nil:
			return nil, fmt.Errorf("the place of %s in the image is not known", name(n))
		}
		if target == nil || target.Size != source.Size || size < headerEnd {
			return nil, fmt.Errorf("%w: %s", ErrLacking, name(n))
		}
		if !source.within(len(state)) || !target.within(size) {
			return nil, fmt.Errorf("%s is not within the state", name(n))
		}
		copy(out[target.Offset:], state[source.Offset:source.Offset+source.Size])
	}
	return out, nil
}

func (c *Component) within(size int) bool {
	return c.Offset >= headerEnd && uint64(c.Offset)+uint64(c.Size) <= uint64(size)
}

func find(list []Component, number uint32) *Component {
	i := slices.IndexFunc(list, func(c Component) bool { return c.Number == number })
	if i < 0 {
		return nil
	}
	return &list[i]
}

func name(n uint32) string {
	if known, ok := names[n]; ok {
		return known
	}
	return fmt.Sprintf("component %d", n)
}
