package hook

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rethaw/rethaw/image"
	"github.com/rethaw/rethaw/internal/ask"
	"github.com/rethaw/rethaw/internal/sealed"
)

// Prefix is that of all annotations of ours.
const Prefix = "dev.rethaw."

// ErrAnnotation means that an annotation is unknown or its value is.
var ErrAnnotation = errors.New("bad annotation")

// Wishes are what the annotations of a container ask for.
type Wishes struct {
	// Restore is the image to restore, "" for none.
	Restore string `json:"restore,omitempty"`
	// Identity is the file with the key that decrypts Restore, "" if that is plain; Digest is
	// the one that the image must have, "" for any.
	Identity string `json:"identity,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// EncryptTo are the recipients of images, or files with them; none for plain images.
	EncryptTo []string `json:"encrypt_to,omitempty"`
	// After is how long after its start an image is taken, 0 for never.
	After time.Duration `json:"after,omitempty"`
	// Listening is the TCP port at which something has to listen for an image to
	// be taken, 0 for none.
	Listening int `json:"listening,omitempty"`
	// File is a path inside the container that has to appear, "" for none.
	File string `json:"file,omitempty"`
	// Every is the time between two images, 0 for none.
	Every time.Duration `json:"every,omitempty"`
	// Keep is how many images of Every and OnRequest are kept.
	Keep int `json:"keep,omitempty"`
	// OnRequest lets the program ask for images.
	OnRequest bool `json:"on_request,omitempty"`
	// Image is the pattern of the directory for images, "" for the default.
	Image string `json:"image,omitempty"`
	// Stop has After, Listening and File end the container once its image is taken.
	Stop bool `json:"stop,omitempty"`
	// FileLocks saves locks on files, as checkpoint --file-locks does.
	FileLocks bool `json:"file_locks,omitempty"`
}

// defaultKeep bounds what a container can fill a disk with.
const defaultKeep = 10

// annotation is one thing that can be asked for.
type annotation struct {
	name, help string
	set        func(w *Wishes, value string) error
}

// annotations is the table of what can be asked for.
func annotations() []annotation {
	return []annotation{
		{"restore", "IMAGE: restore this image, a path or a name in the bundle, in the place of the program",
			func(w *Wishes, v string) (err error) { w.Restore, err = hostPath(v); return }},
		{"restore.identity", "FILE: the private key, of age or SSH, that decrypts that image",
			func(w *Wishes, v string) (err error) { w.Identity, err = absolutePath(v); return }},
		{"restore.digest", "sha256:...: no other image than the one of this digest (rethaw verify --digest)",
			func(w *Wishes, v string) (err error) { w.Digest, err = image.ParseDigest(v); return }},
		{"checkpoint.after", "30s: take an image that long after the start",
			func(w *Wishes, v string) (err error) { w.After, err = duration(v); return }},
		{"checkpoint.listening", "8080: as soon as something listens at that TCP port",
			func(w *Wishes, v string) (err error) { w.Listening, err = number(v, 65535); return }},
		{"checkpoint.file", "/path: as soon as the program makes that file",
			func(w *Wishes, v string) (err error) { w.File, err = innerPath(v); return }},
		{"checkpoint.leave-running", "false: and end the container then (default: true)",
			func(w *Wishes, v string) error { leave, err := truth(v); w.Stop = !leave; return err }},
		{"checkpoint.every", "10m: again and again",
			func(w *Wishes, v string) (err error) { w.Every, err = duration(v); return }},
		{"checkpoint.on-request", "true: when the program asks at " + ask.Socket,
			func(w *Wishes, v string) (err error) { w.OnRequest, err = truth(v); return }},
		{"checkpoint.keep", fmt.Sprintf("N: how many images of every and on-request stay (default: %d)", defaultKeep),
			func(w *Wishes, v string) (err error) { w.Keep, err = number(v, 1<<20); return }},
		{"checkpoint.file-locks", "true: save locks on files, as checkpoint --file-locks",
			func(w *Wishes, v string) (err error) { w.FileLocks, err = truth(v); return }},
		{"checkpoint.image", "DIR: where they go; {id} and {time} are filled in (default: " + defaultOnce + " and " + defaultMany + " in the bundle)",
			func(w *Wishes, v string) (err error) { w.Image, err = hostPath(v); return }},
		{"checkpoint.encrypt-to", "KEY,FILE...: encrypt images to these public keys, of age or SSH, or to those in files",
			func(w *Wishes, v string) (err error) { w.EncryptTo, err = recipients(v); return }},
	}
}

// Help lists the annotations, each with what it means.
func Help() [][2]string {
	var all [][2]string
	for _, n := range annotations() {
		all = append(all, [2]string{Prefix + n.name, n.help})
	}
	return all
}

// ParseAnnotations reads what the annotations ask for; those of others are passed
// by. nil means nothing. Its errors are ErrAnnotation.
func ParseAnnotations(all map[string]string) (*Wishes, error) {
	table := map[string]annotation{}
	for _, n := range annotations() {
		table[n.name] = n
	}
	w := new(Wishes)
	found := false
	for _, key := range slices.Sorted(maps.Keys(all)) {
		name, ours := strings.CutPrefix(key, Prefix)
		if !ours {
			continue
		}
		found = true
		n, known := table[name]
		if !known {
			return nil, fmt.Errorf("%w %s: there is %s", ErrAnnotation, key, strings.Join(names(), ", "))
		}
		if err := n.set(w, all[key]); err != nil {
			return nil, fmt.Errorf("%w %s=%q: %w", ErrAnnotation, key, all[key], err)
		}
	}
	if !found {
		return nil, nil
	}
	return w, w.check(all)
}

// names lists the annotations.
func names() []string {
	var all []string
	for _, n := range annotations() {
		all = append(all, Prefix+n.name)
	}
	return all
}

// once tells whether an image is asked for that is taken once.
func (w *Wishes) once() bool { return w.After != 0 || w.Listening != 0 || w.File != "" }

// images tells whether any image is asked for.
func (w *Wishes) images() bool { return w.once() || w.Every != 0 || w.OnRequest }

// check looks at what goes together, and fills in defaults.
func (w *Wishes) check(all map[string]string) error {
	for _, m := range []struct {
		name   string
		wanted bool
		reason string
	}{
		{"checkpoint.image", w.images(), "nothing asks for an image: add one of after, listening, file, every and on-request"},
		{"restore.identity", w.Restore != "", "it goes with restore"},
		{"restore.digest", w.Restore != "", "it goes with restore"},
		{"checkpoint.encrypt-to", w.images(), "nothing asks for an image: add one of after, listening, file, every and on-request"},
		{"checkpoint.file-locks", w.images(), "nothing asks for an image: add one of after, listening, file, every and on-request"},
		{"checkpoint.keep", w.Every != 0 || w.OnRequest, "it goes with every or on-request"},
		{"checkpoint.leave-running", w.once(), "it goes with after, listening or file"},
	} {
		if value, ok := all[Prefix+m.name]; ok && !m.wanted {
			return fmt.Errorf("%w %s%s=%q: %s", ErrAnnotation, Prefix, m.name, value, m.reason)
		}
	}
	if err := checkPattern(w); err != nil {
		return fmt.Errorf("%w %scheckpoint.image=%q: %w", ErrAnnotation, Prefix, w.Image, err)
	}
	if w.Keep == 0 {
		w.Keep = defaultKeep
	}
	return nil
}

// duration parses a time as time.ParseDuration does.
func duration(v string) (time.Duration, error) {
	d, err := time.ParseDuration(v)
	switch {
	case err != nil:
		return 0, errors.New("a time is a number with a unit: 500ms, 30s, 10m, 2h")
	case d < time.Millisecond:
		return 0, errors.New("the time must be 1ms or more")
	}
	return d, nil
}

// number parses a decimal number from 1 to most.
func number(v string, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > most || strconv.Itoa(n) != v {
		return 0, fmt.Errorf("it must be a number from 1 to %d", most)
	}
	return n, nil
}

// truth parses true and false.
func truth(v string) (bool, error) {
	if v != "true" && v != "false" {
		return false, errors.New(`it must be "true" or "false"`)
	}
	return v == "true", nil
}

// hostPath checks a path of the host: an absolute one, or one below the bundle.
func hostPath(v string) (string, error) {
	switch {
	case v == "":
		return "", errors.New("the path is empty")
	case strings.ContainsRune(v, 0):
		return "", errors.New("there is a NUL in the path")
	case filepath.IsAbs(v):
		return filepath.Clean(v), nil
	case !filepath.IsLocal(v) || filepath.Clean(v) == ".":
		return "", errors.New("a relative path must lead below the bundle: give an absolute one")
	}
	return filepath.Clean(v), nil
}

// absolutePath checks a path of the host that belongs to no bundle: keys do not lie there.
func absolutePath(v string) (string, error) {
	if !filepath.IsAbs(v) || strings.ContainsRune(v, 0) {
		return "", errors.New("it must be an absolute path of the host")
	}
	return filepath.Clean(v), nil
}

// recipients checks a list of public keys and of files with such. The files are read when they
// are needed.
func recipients(v string) ([]string, error) {
	var list []string
	for one := range strings.SplitSeq(v, ",") {
		one = strings.TrimSpace(one)
		if !filepath.IsAbs(one) {
			if _, err := sealed.Recipients([]string{one}); err != nil || !sealed.IsRecipient(one) {
				return nil, fmt.Errorf("%.100q is neither a public key of age or SSH nor an absolute path", one)
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// innerPath checks a path of the container.
func innerPath(v string) (string, error) {
	if !path.IsAbs(v) || path.Clean(v) == "/" || strings.ContainsRune(v, 0) {
		return "", errors.New("it must be an absolute path inside the container")
	}
	return path.Clean(v), nil
}
