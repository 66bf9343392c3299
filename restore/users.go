package restore

import (
	"fmt"

	"github.com/rethaw/rethaw/internal/userns"
)

// users are those of the container's user namespace. The image has our numbers; what a task sets by itself must be one
// of the namespace's.
type users struct{ uids, gids userns.Map }

// meetUsers compares the users of the fresh container with those of the image: files and tasks would belong to others.
func (r *restorer) meetUsers() error {
	h := r.img.Header()
	var err error
	if r.users.uids, r.users.gids, err = userns.Of(r.root.pid); err != nil {
		return err
	}
	for _, m := range []struct {
		what        string
		image, here userns.Map
	}{{"users", h.UIDMap, r.users.uids}, {"groups", h.GIDMap, r.users.gids}} {
		if !m.image.Equal(m.here) {
			return fmt.Errorf("%w: the %s of its user namespace are %s (inside, outside, count), those of the fresh container %s; make it with the same mappings",
				ErrUnfit, m.what, m.image, m.here)
		}
	}
	return nil
}

// uid and gid translate a number for a task that sets it by itself.
func (u *users) uid(id uint32) (uint64, error) { return inside(u.uids, "user", id) }
func (u *users) gid(id uint32) (uint64, error) { return inside(u.gids, "group", id) }

func inside(m userns.Map, what string, id uint32) (uint64, error) {
	got, known := m.Inside(id)
	if !known {
		return 0, fmt.Errorf("%w: %s %d has no number in the container's user namespace (%s)", ErrUnfit, what, id, m)
	}
	return uint64(got), nil
}
