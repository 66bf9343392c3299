package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"sort"

	"github.com/rethaw/rethaw/internal/descriptors"
	"github.com/rethaw/rethaw/internal/procfs"
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// openFile is one open file description of the tree, under the descriptor by
// which it was first seen.
type openFile struct {
	d    *dump
	id   specs.ID
	proc *process
	fd   int
	// link is what /proc/PID/fd/FD leads to, stat what it is, info its fdinfo.
	link string
	stat unix.Stat_t
	info procfs.FDInfo
	// own is our duplicate of the descriptor, made when first asked for.
	own *descriptors.FD
	// domain is the family of a socket, 0 until it is known, domainErr why it could not be asked.
	domain    int
	domainErr error
	// role is 0, 1 or 2 for what the runtime gave, -1 for others.
	role int
	// flight tells that no task has a descriptor of it: it was found in the
	// queue of a socket, and proc is ourselves.
	flight bool
	// again marks one that was opened anew from another of its role.
	again bool
	// kind is the handler that saved it, record what was saved.
	kind   *fileKind
	record specs.File
}

// files are all open file descriptions, found by what can be seen of them.
type files struct {
	all []*openFile
	// buckets have those that look alike, in the order that kcmp(2) gives.
	buckets map[fileKey][]*openFile
	// inodes are files that are mapped or executed, ghosts those that were
	// deleted.
	inodes, ghosts map[inodeKey]specs.ID
	byID           map[specs.ID]*openFile
	// pipes are the ends of each pipe, among the first piped files; meanwhile
	// those that a second look of the preflight finds.
	pipes, meanwhile map[inodeKey]*pipeEnds
	piped            int
	// flying tells whether any of the first searched files has descriptors in
	// flight in it.
	searched int
	flying   bool
	// found are the names by which files that are mapped or executed were found.
	found map[inodeKey]string
	// fsTypes are the filesystems of devices (statfs(2)).
	fsTypes map[uint64]int64
	// alike are the buckets of each inode number, when all files are known.
	alike map[uint64][]fileKey
}

// fileKey is what two descriptors of one description have in common and is
// cheap to read.
type fileKey struct {
	dev, ino uint64
	link     string
}

func (fs *files) close() {
	for _, f := range fs.all {
		if f.own != nil {
			f.own.Close()
		}
	}
}

// name is how messages call the file.
func (f *openFile) name() string {
	if f.flight {
		return fmt.Sprintf("descriptor in flight (%s)", f.link)
	}
	return fmt.Sprintf("fd %d (%s)", f.fd, f.link)
}

// unsupported makes an error about the file.
func (f *openFile) unsupported(reason, remedy string) error {
	return f.proc.unsupported(f.name(), reason, remedy)
}

// path is the descriptor's magic link.
func (f *openFile) path() string { return f.proc.path("fd/%d", f.fd) }

// dup gives a descriptor of ours for the same description.
func (f *openFile) dup() (*descriptors.FD, error) {
	if f.own != nil {
		return f.own, nil
	}
	fd, err := unix.PidfdGetfd(int(f.proc.pidfd.Fd()), f.fd, 0)
	if errors.Is(err, unix.EMFILE) {
		err = fmt.Errorf("%w; raise our limit of open files (ulimit -Hn)", err)
	}
	if err != nil {
		return nil, &Error{"duplicate " + f.name(), f.proc.nspid, err}
	}
	f.own = descriptors.NewFD(fd)
	return f.own, nil
}

// file is dup for who asks for an os.File, which is not to be closed.
func (f *openFile) file() (*os.File, error) {
	own, err := f.dup()
	if err != nil {
		return nil, err
	}
	return own.File(f.link), nil
}

// look reads what can be seen of a descriptor from outside.
func (d *dump) look(p *process, fd int) (*openFile, error) {
	f := &openFile{d: d, proc: p, fd: fd, role: -1}
	var err error
	if f.link, err = procfs.Readlink(p.at, fmt.Sprintf("fd/%d", fd)); err != nil {
		return nil, err
	}
	if err = unix.Stat(f.path(), &f.stat); err != nil {
		return nil, &Error{"stat " + f.name(), p.nspid, err}
	}
	if f.info, err = procfs.ReadFDInfo(p.at, fd); err != nil {
		return nil, err
	}
	return f, nil
}

// lookAll looks at descriptors side by side. What is nil has an error instead.
func (d *dump) lookAll(p *process, fds []int) (seen []*openFile, errs []error) {
	seen, errs = make([]*openFile, len(fds)), make([]error, len(fds))
	_ = sideBySide(len(fds), func(i int) error {
		seen[i], errs[i] = d.look(p, fds[i])
		return nil
	})
	return seen, errs
}

// find gives the description that f's descriptor leads to: an earlier one if
// there is one, else f itself, which is added.
func (fs *files) find(f *openFile) *openFile {
	key := fileKey{f.stat.Dev, f.stat.Ino, f.link}
	bucket := fs.buckets[key]
	i := sort.Search(len(bucket), func(i int) bool { return fs.compare(bucket[i], f) >= 0 })
	if i < len(bucket) && fs.compare(bucket[i], f) == 0 {
		return bucket[i]
	}
	f.id = f.d.newID()
	bucket = append(bucket, nil)
	copy(bucket[i+1:], bucket[i:])
	bucket[i] = f
	fs.buckets[key] = bucket
	fs.all = append(fs.all, f)
	fs.byID[f.id] = f
	return f
}

// compare orders descriptions as kcmp(2) does.
func (fs *files) compare(a, b *openFile) int {
	return kcmpOrder(a.proc.at, b.proc.at, kcmpFile, uintptr(a.fd), uintptr(b.fd))
}

func (d *dump) initFiles() {
	d.files.buckets = map[fileKey][]*openFile{}
	d.files.inodes = map[inodeKey]specs.ID{}
	d.files.ghosts = map[inodeKey]specs.ID{}
	d.files.found = map[inodeKey]string{}
	d.files.fsTypes = map[uint64]int64{}
	d.files.byID = map[specs.ID]*openFile{}
}

// saveFiles writes every table of descriptors and every description once.
func (d *dump) saveFiles() error {
	kin := newKin(kcmpFiles)
	for _, p := range d.live() {
		if o := kin.add(p); o != nil {
			p.fds = o.fds
			continue
		}
		if err := d.saveTable(p); err != nil {
			return err
		}
	}
	d.findRoles()
	for _, p := range d.live() {
		d.noteMapped(p, p.areas)
	}
	// A saver may open a file, which would break a lease.
	if problems := d.checkLocks(); len(problems) > 0 {
		return problems[0]
	}
	// Savers may come across descriptions that no descriptor shows (in flight
	// in a socket's queue), which are appended while we go.
	for i := 0; i < len(d.files.all); i++ {
		if err := d.saveFile(d.files.all[i]); err != nil {
			return err
		}
	}
	if err := d.completeFiles(); err != nil {
		return err
	}
	if err := d.saveTerminals(); err != nil {
		return err
	}
	if err := d.saveLocks(); err != nil {
		return err
	}
	return d.putFiles()
}

// completeFiles calls the handlers once more, now that all files are known.
func (d *dump) completeFiles() error {
	for _, f := range d.files.all {
		if f.kind.complete == nil {
			continue
		}
		if err := f.kind.complete(d, f); err != nil {
			if errors.Is(err, ErrUnsupported) {
				return err
			}
			return &Error{"save " + f.name(), f.proc.nspid, err}
		}
	}
	return nil
}

// saveTable writes one table and numbers what it leads to.
func (d *dump) saveTable(p *process) error {
	fds, err := procfs.ListFDs(p.at)
	if err != nil {
		return err
	}
	table := &specs.FDs{}
	p.files = make(map[int]*openFile, len(fds))
	seen, errs := d.lookAll(p, fds)
	for i, at := range seen {
		if at == nil {
			return errs[i]
		}
		f := d.files.find(at)
		d.noteLocks(at, f)
		p.files[fds[i]] = f
		table.Entries = append(table.Entries, specs.FD{Number: int32(fds[i]), File: f.id, CloExec: at.info.Flags&unix.O_CLOEXEC != 0})
	}
	p.fds = d.newID()
	return d.out.Put(p.fds, table)
}

// saveFile makes the record of a description by the handler of its kind.
func (d *dump) saveFile(f *openFile) error {
	kind := kindOf(f)
	if kind == nil {
		return f.unknown()
	}
	f.kind = kind
	if kind.refuse != nil {
		if err := kind.refuse(d, f); err != nil {
			return err
		}
	}
	base, err := d.description(f)
	if err != nil {
		return err
	}
	f.record, err = kind.save(d, f, base)
	if err != nil && !errors.Is(err, ErrUnsupported) {
		return &Error{"save " + f.name(), f.proc.nspid, err}
	}
	return err
}

// putFiles writes the records; handlers may have completed each other's.
func (d *dump) putFiles() error {
	for _, f := range d.files.all {
		if err := d.out.Put(f.id, f.record); err != nil {
			return err
		}
	}
	return nil
}

// description fills in what all kinds have.
func (d *dump) description(f *openFile) (specs.Description, error) {
	base := specs.Description{Flags: f.info.Flags &^ unix.O_CLOEXEC, Position: f.info.Pos}
	return base, d.owner(f, &base)
}
