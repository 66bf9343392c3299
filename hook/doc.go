// Package hook is rethaw as an OCI hook: checkpoint and restore of containers by the
// annotations in their configuration, without anyone calling rethaw.
//
// A runtime calls `rethaw hook STAGE` with the container's state on stdin:
//
//  1. createRuntime, in the namespaces of the host, while the runtime's init waits. Without
//     annotations in dev.rethaw. this is the end (run.go). Else they are parsed
//     (annotations.go), and an AGENT is started: a daemon of its own session, one for each
//     container, since a hook must return before its container starts (launch.go,
//     agent.go). The hook returns when the agent says that all is in place; if it cannot be,
//     the hook fails, and the runtime with it.
//  2. The agent of a container that is to be restored has seized the runtime's init by then
//     and holds an image that was checked. At the exec of the container's process it
//     restores. Should it fail or die, the kernel kills the container: it never runs as if
//     nothing had been asked.
//  3. createContainer, in the namespaces of the container before its root is changed:
//     the agent's socket is mounted at /run/rethaw.sock, if the program may ask (mount.go).
//  4. Once the container's process runs the agent waits for what the annotations name:
//     timers.go, listening.go, file.go and request.go, and takes images (capture.go), always
//     one at a time. It ends with the container.
//  5. poststop takes away what is left (cleanup.go).
//
// What an agent does stands in a file that `rethaw status` shows (record.go). All of it
// lies in /run/rethaw/hook, one directory for each container (place.go).
//
// Nothing that the container can change is trusted: what the hook does is told by the
// state and the configuration on the host alone, paths inside the container are
// followed as if its root were the root (openat2(2), RESOLVE_IN_ROOT), and requests
// can only ask for an image of the asking container, at a place beside its bundle. Who asks is looked
// up: the socket hears tasks of the container's pid namespace alone (door.go). Images and keys that annotations
// name must lie where the container cannot write (reach.go).
package hook
