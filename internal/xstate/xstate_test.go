package xstate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"
)

var (
	intel = []Component{{2, 576, 256}, {5, 1088, 64}, {6, 1152, 512}, {7, 1664, 1024}, {9, 2688, 8}}
	amd   = []Component{{2, 576, 256}, {5, 832, 64}, {6, 896, 512}, {7, 1408, 1024}, {9, 2432, 8}}
	plain = []Component{{2, 576, 256}}
	amx   = append(append([]Component{}, intel...), Component{17, 2752, 64}, Component{18, 2816, 8192})
)

// state has each of the components in use that used names, its bytes being its number.
func state(size int, list []Component, used uint64) []byte {
	b := bytes.Repeat([]byte{1}, size)
	if size >= headerEnd {
		clear(b[legacySize:])
		binary.LittleEndian.PutUint64(b[legacySize:], used)
	}
	for _, c := range list {
		if used&(1<<c.Number) != 0 {
			copy(b[c.Offset:], bytes.Repeat([]byte{byte(c.Number)}, int(c.Size)))
		}
	}
	return b
}

func TestConvert(t *testing.T) {
	for name, tc := range map[string]struct {
		have       []byte
		from, to   []Component
		want       []byte
		lacks, bad bool
	}{
		"same":                       {have: state(2440, amd, 0xe7), from: amd, to: amd, want: state(2440, amd, 0xe7)},
		"AMD to Intel":               {have: state(2440, amd, 0x2e7), from: amd, to: intel, want: state(2696, intel, 0x2e7)},
		"Intel to AMD":               {have: state(2696, intel, 0x2e7), from: intel, to: amd, want: state(2440, amd, 0x2e7)},
		"into one with AMX":          {have: state(2696, intel, 0xe7), from: intel, to: amx, want: state(11008, amx, 0xe7)},
		"AMX that is not used":       {have: state(11008, amx, 0xe7), from: amx, to: intel, want: state(2696, intel, 0xe7)},
		"AMX that is used":           {have: state(11008, amx, 1<<18|7), from: amx, to: intel, want: state(2696, nil, 0), lacks: true},
		"AVX only":                   {have: state(832, plain, 7), from: plain, to: amd, want: state(2440, amd, 7)},
		"AVX-512 into AVX, not used": {have: state(2440, amd, 7), from: amd, to: plain, want: state(832, plain, 7)},
		"AVX-512 into AVX, used":     {have: state(2440, amd, 0xe7), from: amd, to: plain, want: state(832, nil, 0), lacks: true},
		"old image":                  {have: state(832, plain, 7), to: amd, want: state(2440, amd, 7)},
		"old image with AVX-512":     {have: state(2440, amd, 0xe7), to: intel, want: state(2696, nil, 0), bad: true},
		"old image of this size":     {have: state(2440, amd, 0xe7), to: amd, want: state(2440, amd, 0xe7)},
		"without XSAVE":              {have: state(512, nil, 0), to: plain, want: state(832, plain, 3)},
		"into one without XSAVE":     {have: state(832, plain, 3), from: plain, want: state(512, nil, 3)},
		"AVX into one without XSAVE": {have: state(832, plain, 7), from: plain, want: state(512, nil, 3), lacks: true},
		"cut":                        {have: state(600, nil, 7), from: plain, to: amd, want: state(2440, nil, 0), bad: true},
		"nothing":                    {to: amd, want: state(2440, nil, 0), bad: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Convert(tc.have, tc.from, tc.to, len(tc.want))
			if errors.Is(err, ErrLacking) != tc.lacks || (err != nil) != (tc.lacks || tc.bad) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			if len(got) != len(tc.want) {
				t.Fatalf("%d bytes, want %d", len(got), len(tc.want))
			}
			if !bytes.Equal(got[:legacySize], tc.want[:legacySize]) || len(got) >= headerEnd && !bytes.Equal(got[legacySize:headerEnd], tc.want[legacySize:headerEnd]) {
				t.Error("the first part differs")
			}
			for _, c := range tc.to {
				if used := binary.LittleEndian.Uint64(tc.want[legacySize:]); used&(1<<c.Number) != 0 &&
					!bytes.Equal(got[c.Offset:c.Offset+c.Size], tc.want[c.Offset:c.Offset+c.Size]) {
					t.Errorf("%s differs", name)
				}
			}
		})
	}
}

func TestHere(t *testing.T) {
	list := Here()
	if runtime.GOARCH != "amd64" {
		if list != nil {
			t.Error(list)
		}
		return
	}
	end := uint32(headerEnd)
	for _, c := range list {
		if c.Size == 0 || c.Offset < headerEnd || c.Number == 2 && c != avx {
			t.Errorf("component %+v", c)
		}
		end = max(end, c.Offset+c.Size)
	}
	t.Logf("%+v, %d bytes", list, end)
}

// FuzzConvert: neither state nor layout of an image need make sense.
func FuzzConvert(f *testing.F) {
	f.Add(state(2440, amd, 0x2e7), uint32(5), uint32(832), uint32(64), 2696)
	f.Add(state(512, nil, 0), uint32(2), uint32(576), uint32(256), 832)
	f.Fuzz(func(t *testing.T, b []byte, number, offset, size uint32, want int) {
		if want < 0 || want > 1<<16 {
			return
		}
		for _, to := range [][]Component{intel, amd, plain, nil} {
			out, err := Convert(b, []Component{avx, {number, offset, size}}, to, want)
			if err == nil && len(out) != want {
				t.Errorf("%d bytes of %d", len(out), want)
			}
		}
	})
}
