package plugin

import (
	"os"
	"time"
)

// abandonedAfter is how old an empty state directory must be to be nobody's: a runtime that makes a container fills
// it within milliseconds.
const abandonedAfter = time.Second

// taken tells whether an id has a state directory. An empty one is what is left where somebody died while he removed a
// container: to no runtime that is a container any more, and yet none makes another of this id. It is
// removed once it is surely nobody's.
func taken(dir string) bool {
	for {
		info, err := os.Lstat(dir)
		if err != nil {
			return false
		}
		entries, err := os.ReadDir(dir)
		if err != nil || !info.IsDir() || len(entries) > 0 {
			return true
		}
		if age := time.Since(info.ModTime()); age >= 0 && age < abandonedAfter {
			time.Sleep(abandonedAfter - age)
			continue
		}
		// It fails if somebody has filled it since.
		err = os.Remove(dir)
		return err != nil && !os.IsNotExist(err)
	}
}
