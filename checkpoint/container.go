package checkpoint

import "context"

// saveContainer writes what belongs to the container and to no task: contents of
// its tmpfs mounts, hostname, System V objects.
func (d *dump) saveContainer(ctx context.Context) error {
	if d.target.Host {
		return nil
	}
	for _, s := range containerSavers() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.step(s.name, func() error { return s.save(d) }); err != nil {
			return err
		}
	}
	return nil
}

// containerSaver saves one kind of what belongs to the container.
type containerSaver struct {
	name string
	save func(*dump) error
}

// containerSavers is the table of what is saved of a container.
func containerSavers() []containerSaver {
	return []containerSaver{
		{"uts", saveUTS},
		{"tmpfs", (*dump).endTmpfs},
		{"sysvshm", saveSysVShm},
		{"sysvsem", saveSysVSem},
		{"sysvmsg", saveSysVMsg},
	}
}
