package plugin

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"
)

// starting is the start of a fresh container, which goes on beside the restore once the
// container's process is under control.
type starting struct {
	fresh Fresh
	// ended takes what became of it.
	ended chan error
}

// startGrace is how long an engine may take to end its start once the restored tasks run.
const startGrace = 10 * time.Second

// run starts the container.
func (s starting) run(ctx context.Context) error {
	err := s.fresh.Start(ctx)
	s.ended <- err
	return err
}

// await waits for the end: what the engine puts in order then (runc its exec.fifo, by which
// it tells created containers from running ones) is in order when the restore is done. One that
// takes long, since it waits for a word of a program that has given it before its checkpoint,
// is left to itself.
func (s starting) await(ctx context.Context, log *logrus.Entry) error {
	timeout := time.NewTimer(startGrace)
	defer timeout.Stop()
	select {
	case err := <-s.ended:
		return err
	case <-timeout.C:
		log.Warnf("%s: the start has not ended %v after the container's process ran", s.fresh.Candidate(), startGrace)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
