package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/sirupsen/logrus"

	"github.com/rethaw/rethaw/internal/private"
)

// keepLog returns the log for work on one image: ours, or, if it is to be kept, one that
// writes everything into a file beside the image as well. done closes it.
func (a *app) keepLog(keep bool, image func() (string, error)) (log *logrus.Entry, done func(), err error) {
	if !keep {
		return a.log, func() {}, nil
	}
	dir, err := image()
	if err != nil {
		return nil, nil, err
	}
	f, err := private.OpenFile(dir+".log", os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return nil, nil, fmt.Errorf("keeping the log: %w", err)
	}
	l := logrus.New()
	l.SetOutput(f)
	l.SetLevel(logrus.DebugLevel)
	l.SetFormatter(a.log.Logger.Formatter)
	l.AddHook(forward{a.log.Logger})
	return logrus.NewEntry(l), func() { f.Close() }, nil
}

// forward passes entries on to another log, as far as its level goes.
type forward struct{ to *logrus.Logger }

// Levels implements logrus.Hook.
func (f forward) Levels() []logrus.Level {
	return slices.DeleteFunc(slices.Clone(logrus.AllLevels), func(l logrus.Level) bool { return !f.to.IsLevelEnabled(l) })
}

// Fire implements logrus.Hook.
func (f forward) Fire(e *logrus.Entry) error {
	f.to.WithTime(e.Time).WithFields(e.Data).Log(e.Level, e.Message)
	return nil
}
