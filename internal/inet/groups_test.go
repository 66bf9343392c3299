package inet

import (
	"slices"
	"testing"
)

const igmp = `Idx	Device    : Count Querier	Group    Users Timer	Reporter
1	lo        :     2      V3
				030201EF     1 0:00000000		0
				010000E0     1 0:00000000		0
12	eth0      :     1      V3
				010000E0     1 0:00000000		0
`

const igmp6 = `1    lo              ff020000000000000000000000000001     1 0000000C 0
12   eth0            ff0200000000000000000001ff000002     1 00000004 0
`

func TestGroups(t *testing.T) {
	var got []string
	for _, g := range append(ParseIGMP([]byte(igmp)), ParseIGMP6([]byte(igmp6))...) {
		got = append(got, g.Interface+" "+g.Addr.String())
	}
	want := []string{"lo 239.1.2.3", "lo 224.0.0.1", "eth0 224.0.0.1", "lo ff02::1", "eth0 ff02::1:ff00:2"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func FuzzGroups(f *testing.F) {
	f.Add([]byte(igmp))
	f.Add([]byte(igmp6))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, g := range append(ParseIGMP(b), ParseIGMP6(b)...) {
			if !g.Addr.IsValid() {
				t.Error("a group without an address")
			}
		}
	})
}
