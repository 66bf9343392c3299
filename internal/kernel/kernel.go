package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Answer is what a probe found.
type Answer int

// The answers. The zero value is Unknown.
const (
	Unknown Answer = iota
	No
	Yes
)

// String returns "yes", "no" or "unknown".
func (a Answer) String() string {
	switch a {
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return "unknown"
}

// MarshalText makes an Answer a word in JSON.
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Feature is something that kernels came to have.
type Feature struct {
	// Name is the kernel's or the manual's word for it.
	Name string `json:"name"`
	// Since is the first version of Linux that has it.
	Since string `json:"since"`
	// Use is what Rethaw does with it, Without what happens where it is missing.
	Use     string `json:"use"`
	Without string `json:"without"`
}

// Result is the answer for one feature.
type Result struct {
	Feature
	Answer Answer `json:"answer"`
	// Err is why the answer is No or Unknown, as far as there is something to say.
	Err error `json:"-"`
	// Reason is Err for JSON.
	Reason string `json:"reason,omitempty"`
}

// UnsupportedError tells that a feature is needed and missing.
type UnsupportedError struct{ Result Result }

// Error implements error.
func (e *UnsupportedError) Error() string {
	text := fmt.Sprintf("the kernel has no %s (Linux %s or newer brings it)", e.Result.Name, e.Result.Since)
	if e.Result.Err != nil {
		text += ": " + e.Result.Err.Error()
	}
	return text
}

// Unwrap returns the cause.
func (e *UnsupportedError) Unwrap() error { return e.Result.Err }

// probe is a feature and the function that tries it: nil for Yes, an error made by
// missing for No, any other error for Unknown.
type probe struct {
	Feature
	try func() error
}

// missingError marks the error of a probe that is conclusive.
type missingError struct{ cause error }

func (e missingError) Error() string { return e.cause.Error() }
func (e missingError) Unwrap() error { return e.cause }

// missing returns err as a conclusive No if it is one of the errors by which the
// kernel tells that it does not know what was asked, and as it is otherwise.
func missing(err error, tells ...error) error {
	for _, tell := range append(tells, unix.ENOSYS) {
		if errors.Is(err, tell) {
			return missingError{err}
		}
	}
	return err
}

// absent makes a conclusive No of a sentence.
func absent(format string, args ...any) error {
	return missingError{fmt.Errorf(format, args...)}
}

// Prober asks the kernel and remembers conclusive answers. It may be used from
// several goroutines.
type Prober struct {
	mu    sync.Mutex
	known map[string]Result
}

// NewProber returns a Prober that knows nothing yet.
func NewProber() *Prober { return &Prober{known: make(map[string]Result)} }

// Names returns the names of all features, in the order of All.
func Names() []string {
	var names []string
	for _, p := range probes() {
		names = append(names, p.Name)
	}
	return names
}

// All probes every feature. When ctx ends, the rest is Unknown with its error.
func (p *Prober) All(ctx context.Context) []Result {
	var results []Result
	for _, one := range probes() {
		results = append(results, p.ask(ctx, one))
	}
	return results
}

// Probe probes the feature called name; a name that no feature has is an error.
func (p *Prober) Probe(ctx context.Context, name string) (Result, error) {
	for _, one := range probes() {
		if one.Name == name {
			return p.ask(ctx, one), nil
		}
	}
	return Result{}, fmt.Errorf("no probe for a kernel feature %q", name)
}

// Need returns nil if the feature called name is there, and else an error that tells
// which kernel has it.
func (p *Prober) Need(ctx context.Context, name string) error {
	r, err := p.Probe(ctx, name)
	switch {
	case err != nil:
		return err
	case r.Answer == Yes:
		return nil
	case r.Answer == No:
		return &UnsupportedError{Result: r}
	}
	return fmt.Errorf("whether the kernel has %s cannot be told: %w", name, r.Err)
}

// ask answers from memory or by a try.
func (p *Prober) ask(ctx context.Context, one probe) Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.known[one.Name]; ok {
		return r
	}
	r := Result{Feature: one.Feature}
	if r.Err = context.Cause(ctx); r.Err == nil {
		r.Err = one.try()
		var no missingError
		switch {
		case r.Err == nil:
			r.Answer = Yes
		case errors.As(r.Err, &no):
			r.Answer = No
		}
	}
	if r.Err != nil {
		r.Reason = r.Err.Error()
	}
	if r.Answer != Unknown {
		p.known[one.Name] = r
	}
	return r
}
