package checkpoint

import "context"

// saveContainer writes what belongs to the container and to no task: contents of
// its tmpfs mounts, hostname, System V objects.
func (d *dump) saveContainer(ctx context.Context) error {
	if d.target.Host {
		return nil
	}
	for _, save := range containerSavers() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := save(d); err != nil {
			return err
		}
	}
	return nil
}

// containerSavers is the table of what is saved of a container.
func containerSavers() []func(*dump) error {
	return []func(*dump) error{saveUTS, saveTmpfs, saveSysVShm, saveSysVSem, saveSysVMsg}
}
