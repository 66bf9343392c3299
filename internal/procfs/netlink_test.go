package procfs

import (
	"errors"
	"reflect"
	"testing"
)

const netlinkText = `sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode
0000000000000000 0   0          00000000 0        0        0     2        0        4
0000000000000000 0   -4198      00000551 768      0        1     2        0        24243
`

func TestParseNetlink(t *testing.T) {
	got, err := ParseNetlink([]byte(netlinkText))
	want := []Netlink{{Inode: 4}, {Port: 4294963098, Rmem: 768, Dump: true, Inode: 24243}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"h\n1 2 3\n", "h\na x 0 0 0 0 0 0 0 1\n", "h\na 0 x 0 0 0 0 0 0 1\n", "h\na 0 0 0 x 0 0 0 0 1\n", "h\na 0 0 0 0 0 0 0 0 x\n"} {
		var parse *ParseError
		if _, err := ParseNetlink([]byte(bad)); !errors.As(err, &parse) || parse.Line != 2 {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseNetlink(f *testing.F) {
	f.Add([]byte(netlinkText))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseNetlink(b) })
}
