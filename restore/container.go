package restore

// containerRestorers is the table of what is restored of a container before its
// files and tasks are.
func containerRestorers() []func(*restorer) error {
	return []func(*restorer) error{restoreUTS, restoreTmpfs, restoreSysVShm, restoreSysVSem, restoreSysVMsg}
}

// containerFinishers is the table of what is completed when all tasks are made
// and none runs yet.
func containerFinishers() []func(*restorer) error {
	return []func(*restorer) error{finishSysVShm, finishSysVSem, finishMemfds, finishTmpfs}
}

// restoreContainer makes what belongs to the container and to no task.
func (r *restorer) restoreContainer() error {
	if r.img.Header().Host {
		return nil
	}
	r.ipc.pid = r.root.pid
	for _, restore := range containerRestorers() {
		if err := restore(r); err != nil {
			return err
		}
	}
	return nil
}

// finishContainer completes it.
func (r *restorer) finishContainer() error {
	for _, finish := range containerFinishers() {
		if err := finish(r); err != nil {
			return err
		}
	}
	return nil
}
