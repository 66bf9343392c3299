package e2e

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// nginxConfig is read once: the answer is then in the memory of the workers alone.
const nginxConfig = `
user www-data;
worker_processes 2;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path /tmp/body;
	proxy_temp_path /tmp/proxy;
	fastcgi_temp_path /tmp/fastcgi;
	uwsgi_temp_path /tmp/uwsgi;
	scgi_temp_path /tmp/scgi;
	server {
		listen 127.0.0.1:8080;
		root /srv;
		location = /nonce { return 200 "%s"; }
	}
}
`

// TestNginx: a master as root and workers as www-data.
func TestNginx(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		c := theRig(t).New(t, rig.Config{
			Args: []string{"/usr/sbin/nginx", "-c", "/nginx.conf", "-g", "daemon off;"}, HostUsr: true, Stdio: kind,
		})
		nonce, page := rand.Text(), strings.Repeat("a page\n", 10000)
		c.WriteFile("/nginx.conf", fmt.Sprintf(nginxConfig, nonce), 0o644)
		c.WriteFile("/srv/page", page, 0o644)
		c.WriteFile("/var/log/nginx/error.log", "", 0o644)
		c.Run()
		client := &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true},
		}
		rig.Eventually(t, startTimeout, "nginx to listen", func() bool {
			return fetch(client, "/nonce") == nonce
		})
		c.WriteFile("/nginx.conf", fmt.Sprintf(nginxConfig, "started anew"), 0o644)
		verify := func(t *testing.T, when string) {
			t.Helper()
			if got := fetch(client, "/nonce"); got != nonce {
				t.Errorf("%s: the nonce is %q, was %q", when, got, nonce)
			}
			if got := fetch(client, "/page"); got != page {
				t.Errorf("%s: a file of %d bytes came as %d", when, len(page), len(got))
			}
		}
		load := func(t *testing.T) {
			for range 50 {
				verify(t, "under load")
			}
		}
		return &subject{Container: c, load: load, verify: verify}
	})
}

// fetch returns a page, or the error as its text.
func fetch(client *http.Client, path string) string {
	response, err := client.Get("http://" + webAddress + path)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
