package checkpoint

// soon is what another goroutine is about to find out.
type soon[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// begin has f find it out, beside what else is done.
func begin[T any](f func() (T, error)) *soon[T] {
	s := &soon[T]{done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.value, s.err = f()
	}()
	return s
}

// beginning is begin for what gives an error alone.
func beginning(f func() error) *soon[struct{}] {
	return begin(func() (struct{}, error) { return struct{}{}, f() })
}

// get waits for it. It may be called any number of times.
func (s *soon[T]) get() (T, error) {
	<-s.done
	return s.value, s.err
}

// wait waits for it where there is nothing but an error, nil if nothing was begun.
func (s *soon[T]) wait() error {
	if s == nil {
		return nil
	}
	<-s.done
	return s.err
}
