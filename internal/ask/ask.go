// Package ask has what the program in a container and rethaw say to each other at
// /run/rethaw.sock. The program sends one line of JSON (hook/request.go) and reads one
// line, the answer. The checkpoint is taken while it waits for that: then the agent
// outside answers the program that goes on, and a restore puts another answer at the same
// place for the copy (restore/request.go), so that each learns which one it is.
package ask

// Socket is where the socket is mounted in a container.
const Socket = "/run/rethaw.sock"

// What became of a request.
const (
	// Resumed: the image is taken, and this is the program that asked for it.
	Resumed = "resumed"
	// Restored: this is a copy, made from the image.
	Restored = "restored"
	// Failed: there is no image.
	Failed = "error"
)

// Answer is what a program reads.
type Answer struct {
	// Result is one of the words above.
	Result string `json:"result"`
	// Image is the name of the image for who is resumed.
	Image string `json:"image,omitempty"`
	// Environment is that of the container which a copy is restored into, as its
	// configuration gives it: what tells one copy from the other.
	Environment map[string]string `json:"environment,omitempty"`
	// Error says what went wrong.
	Error string `json:"error,omitempty"`
}
