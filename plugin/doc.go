// Package plugin knows the container engines: how to find a container that one of
// them runs, and how to have one make a fresh container for a restore. Each engine
// is one file or a few of one name (runc.go, crun.go, podman*.go, containerd.go, docker.go);
// pid.go stands for a tree of tasks on the host that no engine knows.
//
// A checkpoint goes through here in this order: Registry.Find asks every engine for
// the name and refuses a name that is not unique; Checkpoint takes the container's
// lock, looks at its status, resolves it to a checkpoint.Target, runs the checkpoint
// and, if the tasks were killed, has the engine remove what is left, so that the id is
// free again as after `runc checkpoint`.
//
// A restore: CheckMachine, CheckBundle and CheckRootfs compare the image with what it
// shall come into before anything is made; Restore has the engine create the container from the unmodified bundle, hands its
// waiting init to package restore, which seizes it, calls the engine's start and
// makes it the restored tree. Any failure removes the fresh container. A Session then
// is the running container: Wait stays with it as `runc run` does, Release leaves
// it to itself.
//
// Exports and imports (export.go, import.go) go from the tasks into one stream and from
// the stream into the tasks; only what asks for a directory, or has the pages in another
// order, goes through one.
//
// Managers - podman, containerd, docker - have a runtime's container beneath each of theirs,
// which is found with it and counts once (list.go). Podman's containers outlast their
// end: its own program ends them (ender) and starts them again (restorable), so that its
// account of them is right. Those of containerd and docker are saved and never ended.
//
// What a runtime keeps on disk is read in process, because a runtime's own `state`
// and `delete` cost 10 to 20 ms each, more than a whole checkpoint. Making containers is
// left to the runtime's program: only it knows how.
package plugin
