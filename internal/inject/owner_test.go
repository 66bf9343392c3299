package inject

import (
	"testing"
	"unsafe"
)

// walk goes through the list as the kernel does, among slots that are known.
func walk(o *owner, known []slot) (slots []*slot) {
	byNode := map[uint64]*slot{}
	for i := range known {
		byNode[uint64(uintptr(unsafe.Pointer(&known[i].node)))] = &known[i]
	}
	for at := o.head.next; at != o.self() && len(slots) < 10; at = slots[len(slots)-1].node {
		slots = append(slots, byNode[at])
	}
	return slots
}

func TestOwnerList(t *testing.T) {
	o := &owner{head: &robustHead{}, tid: 42}
	o.clear()
	slots := make([]slot, 4)
	for i := range slots {
		o.guard(&slots[i])
		if slots[i].ownerw != 42|futexWaiters {
			t.Errorf("owner word %#x", slots[i].ownerw)
		}
	}
	check := func(step string, want ...*slot) {
		t.Helper()
		got := walk(o, slots)
		if len(got) != len(want) {
			t.Fatalf("%s: %d slots, not %d", step, len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: slot %d is another", step, i)
			}
		}
	}
	check("all", &slots[3], &slots[2], &slots[1], &slots[0])
	o.release(&slots[1])
	check("without one in the middle", &slots[3], &slots[2], &slots[0])
	o.release(&slots[1])
	check("released twice", &slots[3], &slots[2], &slots[0])
	o.release(&slots[3])
	check("without the first", &slots[2], &slots[0])
	o.release(&slots[0])
	check("without the last", &slots[2])
	o.guard(&slots[0])
	check("one again", &slots[0], &slots[2])
	o.release(&slots[2])
	o.release(&slots[0])
	check("none")
}
