package restore

// restoreContainer makes what belongs to the container and to no task.
func (r *restorer) restoreContainer() error {
	if r.img.Header().Host {
		return nil
	}
	for _, restore := range containerRestorers() {
		if err := restore(r); err != nil {
			return err
		}
	}
	return nil
}

// containerRestorers is the table of what is restored of a container.
func containerRestorers() []func(*restorer) error {
	return []func(*restorer) error{}
}
