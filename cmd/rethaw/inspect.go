package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/specs"
)

// inspectCommand is `rethaw inspect`.
func inspectCommand(a *app) *cobra.Command {
	var asJSON, digest bool
	var view view
	var identities []string
	c := &cobra.Command{
		Use:   "inspect [flags] IMAGE",
		Short: "Show what is in an image",
		Long: "Show the facts in the header of an image, the sizes of its files and the tree of its tasks.\n" +
			"With --json every record is printed; the field names are those of specs/SPEC.md.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, done, err := a.openImage(cmd.Context(), args[0], identities)
			if err != nil {
				return err
			}
			defer done()
			view.path = args[0]
			if digest {
				if view.digest, err = img.Digest(cmd.Context(), a.progress("reading")); err != nil {
					return err
				}
			}
			if asJSON {
				d := document(img)
				d.Path, d.Digest = args[0], view.digest
				return printJSON(a.stdout, d)
			}
			return view.print(a.stdout, img)
		},
	}
	flags := c.Flags()
	identityFlag(flags, &identities)
	flags.BoolVar(&digest, "digest", false, "show the digest of the whole image too, for which all of it is read")
	flags.BoolVar(&asJSON, "json", false, "print every record as JSON")
	flags.BoolVarP(&view.files, "files", "f", false, "show the descriptors of each task")
	flags.BoolVarP(&view.memory, "memory", "m", false, "show the memory areas of each task")
	return c
}

// jsonImage is an image as JSON.
type jsonImage struct {
	Path    string         `json:"path"`
	Digest  string         `json:"digest,omitempty"`
	Header  *specs.Header  `json:"header"`
	Files   []specs.Member `json:"files"`
	Records []jsonRecord   `json:"records"`
}

// jsonRecord is one record as JSON.
type jsonRecord struct {
	ID     specs.ID     `json:"id"`
	Type   string       `json:"type"`
	Record specs.Record `json:"record"`
}

// document collects an image for JSON.
func document(img *image.Reader) jsonImage {
	d := jsonImage{Path: img.Path(), Header: img.Header(), Files: img.Members()}
	for id, r := range img.All() {
		if r.RecordType() != specs.TypeHeader {
			d.Records = append(d.Records, jsonRecord{id, typeName(r), r})
		}
	}
	return d
}

// typeName is the name of a record's type: "pipe", "unixsocket".
func typeName(r specs.Record) string {
	t := reflect.TypeOf(r)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return strings.ToLower(t.Name())
}

// describeFile says in a few words what an open file is.
func describeFile(r specs.Record) string {
	switch f := r.(type) {
	case *specs.Regular:
		if f.Ghost != 0 {
			return "file " + f.Path + " (deleted)"
		}
		return "file " + f.Path
	case *specs.Directory:
		return "directory " + f.Path
	case *specs.Path:
		return "path " + f.Path
	case *specs.Device:
		return fmt.Sprintf("device %s (%d:%d)", f.Path, f.Major, f.Minor)
	case *specs.FIFO:
		return "fifo " + f.Path
	case *specs.ProcFile:
		return "proc " + f.Path
	case *specs.Pipe:
		return fmt.Sprintf("pipe %d%s", f.Inode, queued(len(f.Data)))
	case *specs.Stdio:
		return fmt.Sprintf("%s of the container (%s)", [...]string{"stdin", "stdout", "stderr"}[min(max(f.Role, 0), 2)], f.Was)
	case *specs.Eventfd:
		return fmt.Sprintf("eventfd count %d", f.Count)
	case *specs.Epoll:
		return fmt.Sprintf("epoll of %s", counted(len(f.Watches), "file"))
	case *specs.Memfd:
		return fmt.Sprintf("memfd, object %d", f.Object)
	case *specs.Terminal:
		return describeTerminal(f)
	case *specs.UnixSocket:
		return describeUnix(f)
	case *specs.InetSocket:
		return describeInet(f)
	}
	return typeName(r)
}

// describeTerminal tells which terminal it is, and what is typed or printed and
// not read.
func describeTerminal(f *specs.Terminal) string {
	text := fmt.Sprintf("terminal %d", f.Index)
	if f.Console {
		text = "console"
	}
	if f.Master {
		text += ", master"
	}
	if f.Current {
		text += " as /dev/tty"
	}
	if f.HungUp {
		text += ", hung up"
	}
	if f.Pair != nil {
		n := len(f.Pair.Rest) + len(f.Pair.Output)
		for _, line := range f.Pair.Lines {
			n += len(line)
		}
		text += queued(n)
	}
	return text
}

// queued tells of data that waits in a queue.
func queued(bytes int) string {
	if bytes == 0 {
		return ""
	}
	return fmt.Sprintf(", %d bytes in it", bytes)
}
