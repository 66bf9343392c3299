package e2e

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// redisKeys of redisValue bytes make 100 MB.
const (
	redisKeys  = 100_000
	redisValue = 1000
)

// TestRedis: redis-server with 100 MB of data.
func TestRedis(t *testing.T) {
	flavours(t, func(t *testing.T, kind rig.StdioKind) *subject {
		keys := redisKeys / 50
		if kind == rig.LogFile {
			keys = redisKeys
		}
		return startRedis(t, kind, keys).subject()
	})
}

// redis is the client's side of a redis-server.
type redis struct {
	c      *rig.Container
	nonce  string
	digest string // of all data, as redis computes it
}

// startRedis runs a server and fills it.
func startRedis(t *testing.T, kind rig.StdioKind, keys int) *redis {
	t.Helper()
	c := theRig(t).New(t, rig.Config{
		Args: []string{"/usr/bin/redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--enable-debug-command", "yes", "--dir", "/tmp"},
		HostUsr: true, Stdio: kind,
	})
	c.Run()
	r := &redis{c: c, nonce: rand.Text()}
	rig.Eventually(t, startTimeout, "redis to listen", func() bool {
		answer, err := r.ask("PING")
		return err == nil && answer == "PONG"
	})
	r.must(t, "DEBUG", "POPULATE", strconv.Itoa(keys), "key", strconv.Itoa(redisValue))
	r.must(t, "SET", "nonce", r.nonce)
	r.digest = r.must(t, "DEBUG", "DIGEST")
	return r
}

func (r *redis) subject() *subject {
	return &subject{Container: r.c, load: r.load, verify: r.verify}
}

// load sets and gets, and leaves the data as it was.
func (r *redis) load(t *testing.T) {
	t.Helper()
	for i := range 100 {
		key := "load:" + strconv.Itoa(i%10)
		r.must(t, "SET", key, strings.Repeat(strconv.Itoa(i), 100))
		r.must(t, "GET", "key:"+strconv.Itoa(i))
		r.must(t, "DEL", key)
	}
}

func (r *redis) verify(t *testing.T, when string) {
	t.Helper()
	if nonce, err := r.ask("GET", "nonce"); err != nil || nonce != r.nonce {
		t.Errorf("%s: the nonce is %q, was %q: %v", when, nonce, r.nonce, err)
	}
	if digest, err := r.ask("DEBUG", "DIGEST"); err != nil || digest != r.digest {
		t.Errorf("%s: the digest of all data is %q, was %q: %v", when, digest, r.digest, err)
	}
}

func (r *redis) must(t *testing.T, words ...string) string {
	t.Helper()
	answer, err := r.ask(words...)
	if err != nil {
		t.Fatalf("redis %s: %v", words[0], err)
	}
	return answer
}

// ask sends one command over a connection of its own, in redis's protocol.
func (r *redis) ask(words ...string) (string, error) {
	conn, err := r.c.Dial("tcp", "127.0.0.1:6379")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	fmt.Fprintf(conn, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(conn, "$%d\r\n%s\r\n", len(word), word)
	}
	return redisReply(bufio.NewReader(conn))
}

// redisReply reads a simple string, a number, an error or a bulk string.
func redisReply(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if line == "" {
		return "", io.ErrUnexpectedEOF
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", fmt.Errorf("no value: %q", line)
		}
		text := make([]byte, size+2)
		_, err = io.ReadFull(in, text)
		return string(text[:size]), err
	}
	return "", fmt.Errorf("redis says %q", line)
}
