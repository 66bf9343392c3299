package checkpoint

import (
	"context"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/sirupsen/logrus"
)

// Target is what is to be checkpointed, as an engine found it. All paths are
// those of the host.
type Target struct {
	// Engine is the name of the engine ("runc", "crun", "pid"...), Container
	// the container's name or id there, Root the engine's state directory.
	Engine, Container, Root string
	// Init is the host pid of the container's init or of the root of a tree.
	Init int
	// Host is true for a tree of the host's own pid namespace (--pid): the tree
	// is Init with all its descendants.
	Host bool
	// Cgroups are the directories of the container's cgroups, Freezer that of
	// the one with a freezer, "" if none.
	Cgroups []string
	Freezer string
	// Rootfs and Bundle are the container's directories.
	Rootfs, Bundle string
	// Terminal tells whether the container's process has a console, Paused
	// whether the container is frozen by its engine.
	Terminal, Paused bool
	// Stdio are the descriptors 0, 1 and 2 that the runtime gave to init, as
	// readlink of /proc/PID/fd shows them ("pipe:[123]", "/dev/null"); empty if
	// the engine does not know.
	Stdio []string
	// SeccompFilters is how many filters the runtime installs into init.
	SeccompFilters int
	// End has the engine end the container once the image is safe: it kills the init,
	// whose tasks are all stopped, and does not wait for its end. nil if the
	// engine need not take part.
	End func(ctx context.Context) error
}

// Options say how a checkpoint is taken.
type Options struct {
	// Image is the directory to be made.
	Image string
	// Create, if not nil, begins an image that goes elsewhere (image.CreateStream).
	Create func() (*image.Writer, error)
	// LeaveRunning lets the tasks go on afterwards instead of killing them.
	LeaveRunning bool
	// TCPEstablished saves TCP connections that lead out of the tree, TCPClose
	// saves them as closed; without either they are refused.
	TCPEstablished, TCPClose bool
	// FileLocks saves locks on files and leases; without it they are refused.
	FileLocks bool
	// Tool is the program's version, written into the header.
	Tool string
	// Answers tells whether a unix socket, by its inode, is one at which the caller
	// answers requests of the container (internal/ask): the tree may be connected to
	// it. nil for none.
	Answers func(inode uint64) bool
	// Frozen is called when all tasks stand still and nothing has been saved yet. An
	// error lets them go on and fails the checkpoint. nil for nothing to do.
	Frozen func(ctx context.Context) error
	// Committed is called when the image is whole and on stable storage, and before
	// the tasks are killed: they are still stopped, or run again with LeaveRunning.
	// An error lets them go on and fails the checkpoint; the image stays. nil for
	// nothing to do.
	Committed func(ctx context.Context) error
	// Watchdog starts a process that undoes what would outlive our death, and returns its
	// leash (watchdog.Launch of internal/watchdog): a paused container stays paused, and
	// no socket keeps an option that was set to read it. nil for none.
	Watchdog func() (*watchdog.Leash, error)
	// Log takes what is of interest; nil for silence.
	Log *logrus.Entry
}
