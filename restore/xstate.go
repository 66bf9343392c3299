package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/xstate"
)

// processor is what this one has of an extended state, once it has been asked.
type processor struct {
	components []xstate.Component
	// size is that of a thread's state, in bytes.
	size int
}

// xstate gives the extended state of a thread as this processor has it.
func (r *restorer) xstate(th *thread) ([]byte, error) {
	h := r.img.Header()
	if r.processor == nil {
		now, err := th.traced.XState()
		if err != nil {
			return nil, err
		}
		r.processor = &processor{size: len(now)}
		if same, err := sameBoot(h); err != nil || !same || h.BootID == "" {
			r.processor.components = xstate.Here()
		}
	}
	var from []xstate.Component
	for _, c := range h.XComponents {
		from = append(from, xstate.Component(c))
	}
	to := r.processor.components
	if to == nil && len(th.rec.XState) == r.processor.size {
		to = from // this very processor
	}
	state, err := xstate.Convert(th.rec.XState, from, to, r.processor.size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; restore on a processor like that of the image", ErrUnfit, err)
	}
	return state, nil
}
