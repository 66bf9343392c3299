// Command rethaw checkpoints running containers and restores them into fresh ones.
//
// Each verb is one file, a thin layer of options over the packages plugin, checkpoint,
// restore and image. Errors end here: exit.go gives each kind its exit code and prints
// one sentence.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/rethaw/rethaw/hook"
	"github.com/rethaw/rethaw/internal/watchdog"
	"github.com/rethaw/rethaw/plugin"
)

func main() {
	// Runtimes call hooks for containers that ask for nothing, too: those wait for
	// this alone.
	if len(os.Args) == 3 && os.Args[1] == "hook" && hook.IsStage(os.Args[2]) {
		os.Exit(report(os.Stderr, nil, exitOK, hook.Run(os.Args[2], os.Stdin)))
	}
	if hook.IsAgent(os.Args[1:]) {
		os.Exit(report(os.Stderr, nil, exitOK, hook.Agent(os.Stdin, version())))
	}
	if watchdog.Is(os.Args[1:]) {
		os.Exit(report(os.Stderr, nil, exitOK, watchdog.Serve()))
	}
	deferCollections()
	prefault()
	ctx, stop := interruptible(context.Background())
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, uninterrupt: stop}
	root := a.command()
	root.SetArgs(os.Args[1:])
	err := root.ExecuteContext(ctx)
	stop()
	os.Exit(report(a.stderr, a.log, a.status, err))
}

// app is the program's options and streams.
type app struct {
	stdin          *os.File
	stdout, stderr *os.File

	runtime, root string
	debug         bool
	logFormat     string

	log *logrus.Entry
	// status is the exit code of a verb that ends without an error.
	status int
	// uninterrupt gives SIGINT and SIGTERM back: they no longer cancel the
	// context.
	uninterrupt func()
}

// command builds the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "rethaw",
		Short: "Checkpoint running containers and restore them into fresh ones",
		Long: "rethaw saves every task of a running container - memory, registers, files, sockets -\n" +
			"into an image, and restores the tree into a fresh container that a stock runtime made.\n\n" + exitHelp(),
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.setup() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.runtime, "runtime", "", "engine of the container: runc, crun, podman, containerd, docker, or the path of one (default: all of them)")
	flags.StringVar(&a.root, "root", "", "the runtime's state directory, or podman's --root (default: the engine's own)")
	flags.BoolVar(&a.debug, "debug", false, "log each step with its time")
	flags.StringVar(&a.logFormat, "log-format", "text", `format of the log on stderr: "text" or "json"`)
	verbs := []func(*app) *cobra.Command{
		checkpointCommand, restoreCommand, inspectCommand, checkCommand, verifyCommand,
		hookCommand, statusCommand, featuresCommand, versionCommand,
	}
	for _, verb := range append(verbs, extraCommands()...) {
		c := verb(a)
		// What is wrong with arguments is the user's to correct, as with flags.
		c.Args = usageArgs(c.Args)
		root.AddCommand(c)
	}
	root.Args = usageArgs(cobra.NoArgs)
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return root
}

// usageArgs makes usage errors of what a check of arguments finds.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return usage(c, err)
		}
		return nil
	}
}

// setup makes the log.
func (a *app) setup() error {
	l := logrus.New()
	l.SetOutput(a.stderr)
	l.SetLevel(logrus.WarnLevel)
	if a.debug {
		l.SetLevel(logrus.DebugLevel)
	}
	switch a.logFormat {
	case "text":
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: "15:04:05.000000"})
	case "json":
		l.SetFormatter(&logrus.JSONFormatter{TimestampFormat: "2006-01-02T15:04:05.000000Z07:00"})
	default:
		return usageError{`--log-format is "text" or "json"`}
	}
	a.log = logrus.NewEntry(l)
	// Libraries log to logrus' own logger: it follows ours.
	logrus.SetOutput(l.Out)
	logrus.SetLevel(l.Level)
	logrus.SetFormatter(l.Formatter)
	return nil
}

// registry returns the engines that --runtime and --root choose.
func (a *app) registry() (*plugin.Registry, error) {
	return plugin.NewRegistry(plugin.Choice{Runtime: a.runtime, Root: a.root})
}

// interruptible returns a context that SIGINT and SIGTERM cancel with the cause
// errInterrupted. stop gives the signals their former meaning.
func interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	go func() {
		if _, ok := <-signals; ok {
			cancel(errInterrupted)
		}
	}()
	return ctx, func() { signal.Stop(signals) }
}

// printf writes to the user; a reader that has gone (a closed pipe) is no concern.
func printf(w io.Writer, lines ...string) {
	_, _ = io.WriteString(w, strings.Join(lines, "\n")+"\n")
}
