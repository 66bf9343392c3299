package restore

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestAdjustment: the operations leave the value, make the adjustment, and never
// leave the range of values or of adjustments.
func TestAdjustment(t *testing.T) {
	for _, value := range []int{0, 1, 5, 16384, 32766, 32767} {
		for _, by := range []int{0, 1, -1, 3, -3, 16384, -16384, 32766, 32767, -32767, -32768} {
			v, a := value, 0
			for _, o := range adjustment(2, value, by) {
				v += int(o.op)
				if o.flags&semUndo != 0 {
					a -= int(o.op)
				}
				if v < 0 || v > semMax || a < -semMax-1 || a > semMax || o.op == 0 || o.num != 2 || o.flags&ipcNoWait == 0 {
					t.Fatalf("value %d, adjustment %d: %+v leads to %d and %d", value, by, o, v, a)
				}
			}
			if v != value || a != by {
				t.Errorf("value %d, adjustment %d became %d and %d", value, by, v, a)
			}
		}
	}
}

func TestMountOptions(t *testing.T) {
	for options, want := range map[string]struct {
		flags uintptr
		data  string
	}{
		"rw,nosuid,nodev,relatime,rw,size=65536k,mode=755,inode64": {unix.MS_NOSUID | unix.MS_NODEV | unix.MS_RELATIME, "size=65536k,mode=755,inode64"},
		"ro,noexec,noatime,rw,seclabel":                            {unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NOATIME, ""},
		"rw":                                                       {unix.MS_STRICTATIME, ""},
	} {
		if flags, data := mountOptions(options); flags != want.flags || data != want.data {
			t.Errorf("%s: %#x %q", options, flags, data)
		}
	}
}
