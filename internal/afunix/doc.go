// Package afunix makes the system calls of unix(7) sockets that Go's own wrappers
// round off: names that are any bytes, messages with everything that comes
// beside them, and what sock_diag(7) knows of each socket.
//
// A name is what stands in sun_path, as the kernel keeps it: the bytes of a path
// without the NUL at its end, or an abstract name, which begins with NUL and may
// hold more of them; nil for none.
package afunix
