//go:build amd64 || arm64

package agent

// clonePwrite calls clone3 with CLONE_VFORK. The child does what w says, leaves
// the result there and exits. It returns the child's pid or -errno.
func clonePwrite(args *cloneArgs, size uintptr, w *pwrite) int

// cloneExec calls clone3. The child does what e says (see execute). It returns
// the child's pid or -errno.
func cloneExec(args *cloneArgs, size uintptr, e *execute) int

func supported() error { return nil }
