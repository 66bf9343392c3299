package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/userns"
	"github.com/rethaw/rethaw/specs"
)

// view prints an image for people.
type view struct {
	files, memory bool
	// path is the image as the user named it, digest its digest or "".
	path, digest string
}

// print writes the facts, the sizes and the tree.
func (v view) print(w io.Writer, img *image.Reader) error {
	h := img.Header()
	var bytes int64
	for _, m := range img.Members() {
		bytes += m.Size
	}
	threads := 0
	var tasks []*specs.Task
	for _, t := range image.Each[*specs.Task](img) {
		tasks = append(tasks, t)
		threads += len(t.Threads)
	}
	of := fmt.Sprintf("%s container %q", h.Engine, h.Container)
	if h.Host {
		of = "process tree " + h.Container + " of the host"
	}
	lines := [][2]string{
		{"image", fmt.Sprintf("%s (%s beside image.rt)", v.path, humanize.IBytes(uint64(bytes)))},
		{"digest", v.digest},
		{"of", of},
		{"bundle", h.Bundle},
		{"rootfs", h.Rootfs},
		{"taken", time.Unix(0, h.Created).Format(time.RFC3339) + " by rethaw " + h.Tool},
		{"kernel", h.Release + " " + h.Machine},
		{"processor", fmt.Sprintf("pages of %d bytes, xstate of %d bytes, features %#x", h.PageSize, h.XStateSize, h.XFeatures)},
		{"users", mapping(h.UIDMap)},
		{"groups", mapping(h.GIDMap)},
		{"tasks", fmt.Sprintf("%s, %s", counted(len(tasks), "task"), counted(threads, "thread"))},
		{"objects", objects(img)},
	}
	var b strings.Builder
	for _, l := range lines {
		if l[1] != "" {
			fmt.Fprintf(&b, "%-10s %s\n", l[0], l[1])
		}
	}
	b.WriteByte('\n')
	if err := v.tree(&b, img, tasks); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// mapping tells of the users of a user namespace, nothing of ours.
func mapping(m userns.Map) string {
	if len(m) == 0 {
		return ""
	}
	return m.String() + " (inside, outside, count)"
}

// objects counts the records that are no tasks, by type.
func objects(img *image.Reader) string {
	counts := make(map[string]int)
	for _, r := range img.All() {
		switch r.RecordType() {
		case specs.TypeHeader, specs.TypeTask, specs.TypeThread:
		default:
			counts[typeName(r)]++
		}
	}
	var words []string
	for name, n := range counts {
		words = append(words, fmt.Sprintf("%d %s", n, name))
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	return strings.Join(words, ", ")
}

// tree prints the tasks below each other. A task whose parent is not in the image
// stands at the top.
func (v view) tree(b *strings.Builder, img *image.Reader, tasks []*specs.Task) error {
	slices.SortFunc(tasks, func(x, y *specs.Task) int { return cmp.Compare(x.PID, y.PID) })
	known := make(map[int32]bool)
	for _, t := range tasks {
		known[t.PID] = true
	}
	children := make(map[int32][]*specs.Task)
	for _, t := range tasks {
		parent := t.PPID
		if !known[parent] || parent == t.PID {
			parent = 0
		}
		children[parent] = append(children[parent], t)
	}
	// A damaged chain of parents must not make this endless: each is shown once.
	shown := make(map[int32]bool)
	var walk func(parent int32, indent string) error
	walk = func(parent int32, indent string) error {
		for i, t := range children[parent] {
			if shown[t.PID] {
				continue
			}
			shown[t.PID] = true
			branch, below := "├─ ", "│  "
			if i == len(children[parent])-1 {
				branch, below = "└─ ", "   "
			}
			if parent == 0 {
				branch, below = "", ""
			}
			b.WriteString(indent + branch)
			if err := v.task(b, img, t, indent+below+"     "); err != nil {
				return err
			}
			if err := walk(t.PID, indent+below); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(0, "")
}

// task prints one task: its line, and below it what the options ask for.
func (v view) task(b *strings.Builder, img *image.Reader, t *specs.Task, indent string) error {
	fmt.Fprintf(b, "%d %s", t.PID, t.Comm)
	if t.State != "running" {
		b.WriteString(" [" + t.State + "]")
	}
	if t.State == "zombie" {
		b.WriteByte('\n')
		return nil
	}
	fmt.Fprintf(b, " uid %d, %s", t.UID, counted(len(t.Threads), "thread"))
	mem, err := image.Get[*specs.Memory](img, t.Memory)
	if err != nil && !errors.Is(err, image.ErrNoRecord) {
		return err
	}
	if mem != nil {
		own, shared := pages(mem.Pages)
		size := uint64(img.Header().PageSize)
		fmt.Fprintf(b, ", %s in %s", humanize.IBytes(own*size), counted(len(mem.Areas), "area"))
		if shared > 0 {
			fmt.Fprintf(b, " (and %s of its parent's)", humanize.IBytes(shared*size))
		}
	}
	fds, err := image.Get[*specs.FDs](img, t.FDs)
	if err != nil && !errors.Is(err, image.ErrNoRecord) {
		return err
	}
	if fds != nil {
		fmt.Fprintf(b, ", %s", counted(len(fds.Entries), "descriptor"))
	}
	if t.Exec {
		b.WriteString(", entered by exec")
	}
	b.WriteByte('\n')
	if v.files && fds != nil {
		for _, fd := range fds.Entries {
			r, err := img.Record(fd.File)
			if err != nil {
				return err
			}
			fmt.Fprintf(b, "%sfd %-4d #%-4d %s\n", indent, fd.Number, fd.File, describeFile(r))
		}
	}
	if v.memory && mem != nil {
		for _, area := range mem.Areas {
			b.WriteString(indent + describeArea(img, area) + "\n")
		}
	}
	return nil
}

// pages counts the pages with contents, and those that are the parent's.
func pages(extents []specs.Extent) (own, shared uint64) {
	for _, e := range extents {
		if e.Inherit {
			shared += e.Count
		} else {
			own += e.Count
		}
	}
	return own, shared
}

// describeArea renders an area as proc_pid_maps(5) does.
func describeArea(img *image.Reader, a specs.Area) string {
	prot := []byte("---p")
	for i, c := range "rwx" {
		if a.Prot&(1<<i) != 0 {
			prot[i] = byte(c)
		}
	}
	if a.Shared {
		prot[3] = 's'
	}
	text := fmt.Sprintf("%012x-%012x %s %-5s", a.Start, a.End, prot, a.Kind)
	if a.File != 0 {
		if r, err := img.Record(a.File); err == nil {
			text += fmt.Sprintf(" %s at %#x", describeFile(r), a.Offset)
		}
	}
	if a.Name != "" {
		text += " [" + a.Name + "]"
	}
	return text
}
