package e2e

import (
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rethaw/rethaw/e2e/rig"
)

// keeper is a server that keeps what it is told in its memory: a nonce, which is set once, and how often it was asked.
type keeper struct {
	args  []string
	files map[string]string
	// set stores the nonce, and says that it is there; get gives it back with what has been counted.
	set func(c *rig.Container, nonce string) error
	get func(c *rig.Container) (string, error)
	// want is what get answers for the n-th time.
	want func(nonce string, n int) string
}

// keepers are by their names.
var keepers = map[string]keeper{
	"memcached": {
		args: []string{"/usr/bin/memcached", "-u", "root", "-l", "127.0.0.1", "-t", "3"},
		set: func(c *rig.Container, nonce string) error {
			return expect(c, "127.0.0.1:11211", fmt.Sprintf("set nonce 0 0 %d\r\n%s\r\nset count 0 0 1\r\n0\r\nquit\r\n", len(nonce), nonce), "STORED\r\nSTORED\r\n")
		},
		get: func(c *rig.Container) (string, error) {
			return ask(c, "127.0.0.1:11211", "get nonce\r\nincr count 1\r\nquit\r\n")
		},
		want: func(nonce string, n int) string { return fmt.Sprintf("%s\r\nEND\r\n%d\r\n", nonce, n) },
	},
	"haproxy": {
		args: []string{"/usr/sbin/haproxy", "-W", "-f", "/haproxy.cfg"},
		files: map[string]string{"/haproxy.cfg": `
global
	stats socket ipv4@127.0.0.1:9999 level admin
	nbthread 2
defaults
	mode http
	timeout connect 5s
	timeout client 5s
	timeout server 5s
backend table
	stick-table type string len 40 size 1k store gpc0
frontend count
	bind 127.0.0.1:8080
	http-request track-sc0 str(asked) table table
	http-request sc-inc-gpc0(0)
	http-request return status 200
`},
		set: func(c *rig.Container, nonce string) error {
			return expect(c, "127.0.0.1:9999", "set table table key "+nonce+"\n", "\n")
		},
		get: func(c *rig.Container) (string, error) {
			if _, err := ask(c, "127.0.0.1:8080", "GET / HTTP/1.0\r\n\r\n"); err != nil {
				return "", err
			}
			table, err := ask(c, "127.0.0.1:9999", "show table table\n")
			nonce, count := "", ""
			for line := range strings.Lines(table) {
				entry := map[string]string{}
				for _, field := range strings.Fields(line) {
					name, value, _ := strings.Cut(field, "=")
					entry[name] = value
				}
				switch entry["key"] {
				case "":
				case "asked":
					count = entry["gpc0"]
				default:
					nonce = entry["key"]
				}
			}
			return nonce + " " + count, err
		},
		want: func(nonce string, n int) string { return fmt.Sprintf("%s %d", nonce, n) },
	},
	"mosquitto": {
		args:  []string{"/usr/sbin/mosquitto", "-c", "/mosquitto.conf"},
		files: map[string]string{"/mosquitto.conf": "listener 1883 127.0.0.1\nallow_anonymous true\nuser root\npersistence false\n"},
		set: func(c *rig.Container, nonce string) error {
			_, err := mqtt(c, publication(nonce))
			return err
		},
		get: func(c *rig.Container) (string, error) { return mqtt(c, subscription) },
		// SUBACK, and the message that was retained.
		want: func(nonce string, _ int) string { return "\x90\x03\x00\x01\x00" + publication(nonce) },
	},
}

// TestKeepers: servers of other people's that keep all in memory.
func TestKeepers(t *testing.T) {
	t.Parallel()
	for name, k := range keepers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := theRig(t).New(t, rig.Config{Args: k.args, HostUsr: true})
			for path, text := range k.files {
				c.WriteFile(path, text, 0o644)
			}
			c.Run()
			nonce, asked, loaded := rand.Text(), 0, 0
			rig.Eventually(t, startTimeout, name+" to take a nonce", func() bool { return k.set(c, nonce) == nil })
			verify := func(t *testing.T, when string) {
				t.Helper()
				asked++
				got, err := k.get(c)
				if want := k.want(nonce, asked); err != nil || !strings.Contains(got, want) {
					t.Errorf("%s: it answers %q, %v, want %q", when, got, err, want)
				}
			}
			s := &subject{
				Container: c, verify: verify,
				load: func(t *testing.T) {
					for range 20 {
						verify(t, "under load")
					}
					loaded = asked
				},
				rewind: func() { asked = loaded },
			}
			s.cycle(t)
		})
	}
}

// ask sends a server text and returns all that it answers until it closes the connection.
func ask(c *rig.Container, address, text string) (string, error) {
	conn, err := c.Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	return string(answer), err
}

// expect is ask where the answer is known.
func expect(c *rig.Container, address, text, want string) error {
	got, err := ask(c, address, text)
	if err == nil && got != want {
		err = fmt.Errorf("the answer is %q", got)
	}
	return err
}

// packet makes a control packet of MQTT 3.1.1 that is shorter than 128 bytes.
func packet(kind byte, body string) string { return string([]byte{kind, byte(len(body))}) + body }

// publication retains a nonce at the topic "n", subscription asks for it.
func publication(nonce string) string { return packet(0x31, "\x00\x01n"+nonce) }

var subscription = packet(0x82, "\x00\x01\x00\x01n\x00")

// mqtt has a conversation with the broker and returns what it says, but for CONNACK and PINGRESP.
func mqtt(c *rig.Container, said string) (string, error) {
	conn, err := c.Dial("tcp", "127.0.0.1:1883")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	connect := packet(0x10, "\x00\x04MQTT\x04\x02\x00\x3c\x00\x01x")
	if _, err := io.WriteString(conn, connect+said+packet(0xc0, "")); err != nil {
		return "", err
	}
	const accepted, pong = "\x20\x02\x00\x00", "\xd0\x00"
	var heard strings.Builder
	for b := make([]byte, 1024); !strings.HasSuffix(heard.String(), pong); {
		n, err := conn.Read(b)
		if err != nil {
			return heard.String(), err
		}
		heard.Write(b[:n])
	}
	_, err = io.WriteString(conn, packet(0xe0, ""))
	return strings.TrimSuffix(strings.TrimPrefix(heard.String(), accepted), pong), err
}
