package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// postgresScript makes a cluster, runs the server as pid 1's child, and four
// sessions that read their commands from FIFOs: each is a client connected to a
// backend over a unix socket, all within the container.
const postgresScript = `
set -e
initdb -D /data/db -A trust -U postgres --no-sync >/tmp/initdb.log 2>&1 || { cat /tmp/initdb.log; exit 1; }
postgres -D /data/db -k /tmp -c listen_addresses=127.0.0.1 -c autovacuum=off -c fsync=off &
until psql -h /tmp -U postgres -qc 'create table t (k serial primary key, v text)' 2>/dev/null; do sleep 0.1; done
for i in 1 2 3 4; do
	mkfifo /state/in.$i
	psql -h /tmp -U postgres -qAtX <>/state/in.$i >>/state/out.$i 2>&1 &
done
echo yes >/state/ready.tmp
mv /state/ready.tmp /state/ready
wait
`

// TestPostgres: PostgreSQL with several sessions that stay connected.
func TestPostgres(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		bin := postgresBin(t)
		c := theRig(t).New(t, rig.Config{
			Args: []string{"/bin/sh", "/start.sh"}, HostUsr: true, Stdio: kind,
			UID: rig.PostgresID, GID: rig.PostgresID,
			Env: []string{"PATH=" + bin + ":/usr/bin:/bin", "HOME=/data"},
		})
		c.WriteFile("/start.sh", postgresScript, 0o644)
		c.Give("data", rig.PostgresID, rig.PostgresID)
		c.Run()
		awaitFile(t, c, "ready")
		p := &postgres{c: c}
		p.begin(t)
		return &subject{Container: c, load: p.load, verify: p.verify, rewind: func() { p.uncommitted = p.loaded }}
	})
}

// postgresBin finds the directory of the newest server that is installed.
func postgresBin(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		t.Fatalf("no PostgreSQL server found (install postgresql): %v", err)
	}
	return filepath.Dir(slices.Max(found))
}

// postgres is the client's side of the four sessions.
type postgres struct {
	c           *rig.Container
	nonces      [5]string // of session 1 to 4, each a variable of its backend
	pids        [5]string
	rows        int
	asked       int
	uncommitted int // rows that session 4 has inserted and not committed
	loaded      int
}

// begin gives each session its nonce and opens a transaction in the last.
func (p *postgres) begin(t *testing.T) {
	t.Helper()
	for i := 1; i <= 4; i++ {
		p.nonces[i] = rand.Text()
		p.pids[i] = p.ask(t, i, fmt.Sprintf("set my.nonce = '%s'; select pg_backend_pid()", p.nonces[i]))
	}
	p.ask(t, 2, "create temp table own as select generate_series(1, 1000) as n; prepare get as select sum(n) from own; select 1")
	p.ask(t, 3, "insert into t (v) select repeat('x', 100) from generate_series(1, 5000); select 1")
	p.rows = 5000
	p.ask(t, 4, "begin; select 1")
}

// load inserts in one session and reads in others.
func (p *postgres) load(t *testing.T) {
	t.Helper()
	for range 20 {
		p.ask(t, 1, "insert into t (v) values (md5(random()::text)); select 1")
		p.rows++
		p.ask(t, 3, "select sum(length(v)) from t")
		p.ask(t, 4, "insert into t (v) values ('not committed'); select 1")
		p.uncommitted++
	}
	p.loaded = p.uncommitted
}

// verify asks every session what only it can know, and for the data.
func (p *postgres) verify(t *testing.T, when string) {
	t.Helper()
	for i := 1; i <= 4; i++ {
		want := p.nonces[i] + " " + p.pids[i]
		if got := p.ask(t, i, "select current_setting('my.nonce') || ' ' || pg_backend_pid()"); got != want {
			t.Errorf("%s: session %d is %q, was %q", when, i, got, want)
		}
	}
	for _, check := range []struct {
		session   int
		sql, want string
	}{
		{1, "select count(*) from t", fmt.Sprint(p.rows)},
		{2, "execute get", "500500"},
		{4, "select count(*) from t where v = 'not committed'", fmt.Sprint(p.uncommitted)},
		{3, "select count(*) from t where v = 'not committed'", "0"},
	} {
		if got := p.ask(t, check.session, check.sql); got != check.want {
			t.Errorf("%s: session %d: %s: %q, want %q", when, check.session, check.sql, got, check.want)
		}
	}
}

// ask sends a command to a session and returns the line that it prints before the
// mark of this question.
func (p *postgres) ask(t *testing.T, session int, sql string) string {
	t.Helper()
	p.asked++
	mark := fmt.Sprintf("mark-%d", p.asked)
	if err := sendLine(p.c, fmt.Sprintf("in.%d", session), sql+";\n\\echo "+mark); err != nil {
		t.Fatalf("session %d: %v", session, err)
	}
	out := filepath.Join(p.c.StateDir, fmt.Sprintf("out.%d", session))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		text, err := os.ReadFile(out)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if n := len(lines); err == nil && lines[n-1] == mark {
			if n == 1 {
				return ""
			}
			return lines[n-2]
		}
		if time.Now().After(deadline) {
			t.Fatalf("session %d: %q is not answered; the session said:\n%s", session, sql, text)
		}
	}
}
