package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/hook"
)

// hookCommand is `rethaw hook`. A call by a runtime does not come this far: see main.
func hookCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "hook STAGE | hook install | hook add BUNDLE",
		Short: "Be an OCI hook, or put it into configurations",
		Long: "As an OCI hook, rethaw checkpoints and restores containers by the annotations in their configuration.\n" +
			"Runtimes call `rethaw hook STAGE` with a container's state on stdin; `hook install` and `hook add` tell\n" +
			"them to.\n\n" + annotationHelp(),
		Example: "  rethaw hook install\n  podman run --annotation dev.rethaw.checkpoint.listening=8080 ...\n  rethaw hook add -a dev.rethaw.restore=/srv/web.image /srv/web",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return hook.Run(args[0], a.stdin) },
	}
	c.AddCommand(hookInstallCommand(a), hookUninstallCommand(a), hookAddCommand(a), hookRemoveCommand(a))
	return c
}

// annotationHelp lists the annotations.
func annotationHelp() string {
	var b strings.Builder
	b.WriteString("Annotations:")
	for _, m := range hook.Help() {
		fmt.Fprintf(&b, "\n  %-36s %s", m[0], m[1])
	}
	return b.String()
}

func hookInstallCommand(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "install",
		Short: "Have podman and its kind call the hook for containers with annotations",
		Long: "Write the hook's definitions (oci-hooks(5)) into a hooks directory: podman, CRI-O and others then add the\n" +
			"hook to each container with an annotation dev.rethaw.*, and to no other. On stdout comes what\n" +
			"a config.json for runc or crun needs (rethaw hook add puts it there).",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			written, err := hook.Install(dir)
			if err != nil {
				return err
			}
			for _, path := range written {
				printf(a.stderr, "wrote "+path)
			}
			text, err := hook.Fragment()
			if err != nil {
				return err
			}
			printf(a.stdout, string(text))
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", hook.HooksDir, "the hooks directory")
	return c
}

func hookUninstallCommand(a *app) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "Remove what install wrote",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			removed, err := hook.Uninstall(dir)
			for _, path := range removed {
				printf(a.stderr, "removed "+path)
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", hook.HooksDir, "the hooks directory")
	return c
}

func hookAddCommand(a *app) *cobra.Command {
	var annotations []string
	c := &cobra.Command{
		Use:   "add BUNDLE",
		Short: "Add the hook, and annotations, to the config.json of a bundle",
		Long: "Add the hook, and the annotations given, to the config.json of a bundle. What is there already is not\n" +
			"added again; the rest of the file stays as it is. The file is replaced in one step.",
		Example: "  rethaw hook add -a dev.rethaw.checkpoint.after=30s /srv/web",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			add := map[string]string{}
			for _, text := range annotations {
				key, value, ok := strings.Cut(text, "=")
				if !ok {
					return usage(c, fmt.Errorf("the annotation %q is not KEY=VALUE", text))
				}
				add[key] = value
			}
			_, err := hook.Add(args[0], add)
			return err
		},
	}
	c.Flags().StringArrayVarP(&annotations, "annotation", "a", nil, "an annotation, KEY=VALUE; may be given several times")
	return c
}

func hookRemoveCommand(a *app) *cobra.Command {
	var annotations bool
	c := &cobra.Command{
		Use:   "remove BUNDLE",
		Short: "Take the hook out of the config.json of a bundle",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, err := hook.Remove(args[0], annotations)
			return err
		},
	}
	c.Flags().BoolVar(&annotations, "annotations", false, "remove all annotations dev.rethaw.* too")
	return c
}
