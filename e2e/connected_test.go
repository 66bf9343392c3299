package e2e

import (
	"strings"
	"testing"

	"github.com/rethaw/rethaw/e2e/rig"
)

// connectedNginx serves one page, over connections that stay open.
const connectedNginx = `
worker_processes 2;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 64; }
http {
	access_log off;
	keepalive_requests 1000000;
	client_body_temp_path /tmp/body;
	proxy_temp_path /tmp/proxy;
	fastcgi_temp_path /tmp/fastcgi;
	uwsgi_temp_path /tmp/uwsgi;
	scgi_temp_path /tmp/scgi;
	server { listen 127.0.0.1:7000 reuseport; root /srv; }
}
`

// TestConnected: servers with clients in the same container that stay connected,
// and talk when the checkpoint comes.
func TestConnected(t *testing.T) {
	t.Parallel()
	for _, server := range []string{"echo", "redis", "nginx"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			c := theRig(t).New(t, rig.Config{
				Args: []string{"/usr/bin/python3", "-u", "/programs/connected.py", server}, HostUsr: true,
			})
			c.AddProgram("programs/connected.py", "connected.py")
			c.WriteFile("/nginx.conf", connectedNginx, 0o644)
			c.WriteFile("/srv/page", strings.Repeat("a", 300_000), 0o644)
			c.WriteFile("/var/log/nginx/error.log", "", 0o644)
			c.Run()
			serve(t, c).cycle(t)
		})
	}
}
