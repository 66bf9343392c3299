package checkpoint

import (
	"strings"

	"github.com/rethaw/rethaw/internal/procfs"
	"golang.org/x/sys/unix"
)

// checkDirs refuses a process whose working directory or root is not where its path
// leads to: outside of the tree's root, or under another mount.
func (d *dump) checkDirs(p *process) []error {
	var problems []error
	for name, object := range map[string]string{"cwd": "working directory", "root": "root directory"} {
		var stat unix.Stat_t
		link, err := procfs.Readlink(p.pid, name)
		if err != nil || unix.Stat(p.path("%s", name), &stat) != nil {
			continue // it has ended
		}
		if stat.Nlink == 0 && name == "cwd" {
			continue
		}
		if strings.HasPrefix(link, "/") {
			there, err := d.reaches(link, &stat)
			if err != nil {
				problems = append(problems, &Error{"look at " + object, p.nspid, err})
			}
			if there || err != nil {
				continue
			}
		}
		if again, err := procfs.Readlink(p.pid, name); err != nil || again != link {
			continue // it is on its way
		}
		problems = append(problems, p.unsupported(object+" ("+link+")", "is not where its path leads to", "have the program change to another directory"))
	}
	return problems
}
