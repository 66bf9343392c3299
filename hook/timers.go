package hook

import (
	"context"
	"time"
)

// waitAfter waits for dev.rethaw.checkpoint.after.
func waitAfter(ctx context.Context, a *agent) error {
	return a.init.pause(ctx, a.plan.Wishes.After)
}

// every has an image taken each time that dev.rethaw.checkpoint.every has passed. One that
// fails is tried again at the next time.
func (a *agent) every(ctx context.Context) {
	for a.init.pause(ctx, a.plan.Wishes.Every) == nil {
		// What went wrong is in the log and in the record.
		_ = a.ask(ctx, job{trigger: "every", path: a.plan.imagePath(true, "", time.Now()), many: true})
	}
}
