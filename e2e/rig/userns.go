package rig

import (
	"io/fs"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The users of a container with a user namespace of its own (user_namespaces(7)), as numbers of the host.
const (
	firstUser = 100000
	users     = 1 << 20
)

// UserNS tells whether all containers of this run have a user namespace of their own.
func UserNS() bool { return os.Getenv("RETHAW_E2E_USERNS") != "" }

// mapUsers gives a container a user namespace.
func mapUsers(spec *specs.Spec) {
	mapping := []specs.LinuxIDMapping{{ContainerID: 0, HostID: firstUser, Size: users}}
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = mapping, mapping
}

// Give makes a file of the rootfs belong to a user of the container.
func (c *Container) Give(path string, uid, gid int) {
	c.t.Helper()
	if c.userNS {
		uid, gid = uid+firstUser, gid+firstUser
	}
	must(c.t, os.Chown(filepath.Join(c.Rootfs, path), uid, gid), "give a file away")
}

// giveAway makes all below a directory belong to the root of such a container.
func giveAway(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, firstUser, firstUser)
	})
}
