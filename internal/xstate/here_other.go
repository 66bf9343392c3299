//go:build !amd64

package xstate

// Here is nil: there is no XSAVE.
func Here() []Component { return nil }
