package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestLasting(t *testing.T) {
	one, two, broken := errors.New("one"), errors.New("two"), errors.New("broken")
	for name, c := range map[string]struct {
		looks [][]error
		err   error
		want  string
		after int
	}{
		"nothing":               {[][]error{nil}, nil, "[]", 1},
		"the same each time":    {[][]error{{one, two}, {two, one}, {errors.New("one"), two}}, nil, "[one two]", 3},
		"one goes":              {[][]error{{one, two}, {two}, {two, one}}, nil, "[two]", 3},
		"all go":                {[][]error{{one}, {two}}, nil, "[]", 2},
		"another each time":     {[][]error{{one}, nil}, nil, "[]", 2},
		"the look itself fails": {[][]error{{one}, nil}, broken, "[one]", 2},
	} {
		n := 0
		got, err := lasting(t.Context(), func() ([]error, error) {
			n++
			if n == len(c.looks) && c.err != nil {
				return nil, c.err
			}
			return c.looks[n-1], nil
		})
		if fmt.Sprint(got) != c.want || !errors.Is(err, c.err) || n != c.after {
			t.Errorf("%s: %v, %v after %d looks", name, got, err, n)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lasting(ctx, func() ([]error, error) { return []error{one}, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
