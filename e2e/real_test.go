package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// startTimeout is how long a real program may take until it serves.
const startTimeout = 60 * time.Second

// flavours runs a real program with its streams on each kind of end. The log file
// is the common case and takes the whole scenario; the others one round.
func flavours(t *testing.T, start func(t *testing.T, kind rig.StdioKind) *subject) {
	t.Parallel()
	for _, kind := range rig.StdioKinds {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			s := start(t, kind)
			if kind == rig.LogFile {
				s.cycle(t)
				return
			}
			s.verify(t, "before any checkpoint")
			s.round(t, true)
		})
	}
}

// webServer is the client's side of the small servers that are written in
// different languages: GET / answers with the nonce and the number of requests
// so far, both kept in memory alone; after GET /rest they do nothing by themselves
// until GET /work.
type webServer struct {
	container *rig.Container
	client    http.Client
	nonce     string
	count     int
	loaded    int // count when the last load ended
}

// webAddress is where they listen, inside the container.
const webAddress = "127.0.0.1:8080"

// serve makes the subject of a container that runs such a server.
func serve(t *testing.T, c *rig.Container) *subject {
	t.Helper()
	w := &webServer{container: c}
	w.client = http.Client{
		Timeout: time.Minute, // on a busy machine
		// A connection that is left open has its other end out here, which cannot be
		// saved.
		Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true},
	}
	rig.Eventually(t, startTimeout, "the server to listen", func() bool {
		nonce, count, err := w.get("/")
		w.nonce, w.count = nonce, count
		return err == nil
	})
	return &subject{
		Container: c, load: w.load, verify: w.verify, rewind: func() { w.count = w.loaded },
		rest: w.tell("/rest"), work: w.tell("/work"),
	}
}

// get asks once.
func (w *webServer) get(path string) (nonce string, count int, err error) {
	response, err := w.client.Get("http://" + webAddress + path)
	if err != nil {
		return "", 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", 0, err
	}
	if _, err := fmt.Sscanf(string(text), "%s %d", &nonce, &count); err != nil {
		return "", 0, fmt.Errorf("answer %q: %w", strings.TrimSpace(string(text)), err)
	}
	return nonce, count, nil
}

// tell asks for a page that changes how the server behaves.
func (w *webServer) tell(path string) func(t *testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if _, _, err := w.get(path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// load asks a hundred times, four at a time.
func (w *webServer) load(t *testing.T) {
	t.Helper()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 25 {
				if _, _, err := w.get("/"); err != nil {
					t.Errorf("under load: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	w.count += 100
	w.loaded = w.count
}

// verify sees that it is the same server, which has missed nothing.
func (w *webServer) verify(t *testing.T, when string) {
	t.Helper()
	nonce, count, err := w.get("/")
	w.count++
	if err != nil {
		t.Errorf("%s: %v", when, err)
		w.count--
		return
	}
	if nonce != w.nonce {
		t.Errorf("%s: the nonce is %s, was %s: the program was started anew", when, nonce, w.nonce)
	}
	if count != w.count {
		t.Errorf("%s: %d requests counted, want %d", when, count, w.count)
	}
}
