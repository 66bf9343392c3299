package hook

import (
	"errors"
	"path/filepath"
	"strings"
	"time"
)

// What a pattern of image directories may hold.
const (
	idMark   = "{id}"
	timeMark = "{time}"
)

// timeLayout orders names by time; the time is UTC.
const timeLayout = "20060102T150405.000Z"

// Where images go beside the bundle if nothing else is said: one that is taken once to
// the place where `rethaw restore` looks for it.
const (
	defaultOnce = "checkpoint"
	defaultMany = "checkpoints/" + timeMark
)

// checkPattern checks Wishes.Image.
func checkPattern(w *Wishes) error {
	if w.Image == "" {
		return nil
	}
	rest := strings.NewReplacer(idMark, "", timeMark, "").Replace(w.Image)
	if strings.ContainsAny(rest, "{}") {
		return errors.New("the marks are " + idMark + " and " + timeMark)
	}
	if strings.Contains(filepath.Dir(w.Image), timeMark) {
		return errors.New(timeMark + " goes into the last part of the path")
	}
	if (w.Every != 0 || w.OnRequest) && !strings.Contains(filepath.Base(w.Image), timeMark) {
		return errors.New("every and on-request take several images: put " + timeMark + " into the last part of the path")
	}
	if (w.Every != 0 || w.OnRequest) && len(w.EncryptTo) > 0 && filepath.IsAbs(w.Image) && !strings.Contains(filepath.Dir(w.Image), idMark) {
		// Whose an encrypted image is tells nothing but its place.
		return errors.New("encrypted images of several containers cannot be told apart: put " + idMark + " into the directory")
	}
	return nil
}

// imageName tells whether a program may call an image so: letters, digits, - and _. There is
// no dot among them, so that no name is that of an unfinished image or a time.
func imageName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '_') {
			return false
		}
	}
	return name != "" && len(name) <= 64
}

// pattern gives the absolute pattern for images of one kind, without the id mark.
func (p *plan) pattern(many bool) string {
	s := p.Wishes.Image
	if s == "" {
		s = defaultOnce
		if many {
			s = defaultMany
		}
	}
	return under(p.Bundle, strings.ReplaceAll(s, idMark, p.ID))
}

// imagePath is where an image taken at a moment goes. A name takes the place of the last
// part.
func (p *plan) imagePath(many bool, name string, now time.Time) string {
	s := p.pattern(many)
	if name != "" {
		return filepath.Join(filepath.Dir(s), name)
	}
	return strings.ReplaceAll(s, timeMark, now.UTC().Format(timeLayout))
}

// under makes a path of the annotations absolute.
func under(bundle, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(bundle, path)
}
