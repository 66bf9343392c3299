package sealed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// pair is a recipient and the file of its identity.
type pair struct{ public, file string }

// pairs makes one of each kind.
func pairs(t *testing.T) map[string]pair {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	h, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]pair{
		"x25519": {x.Recipient().String(), write("x", "# made by a test\n"+x.String()+"\n")},
		"hybrid": {h.Recipient().String(), write("h", h.String()+"\n")},
		"ssh":    {string(ssh.MarshalAuthorizedKey(sshPublic)), write("s", string(pem.EncodeToMemory(block)))},
	}
}

// encrypt encrypts a text to recipients.
func encrypt(t *testing.T, text []byte, to ...string) []byte {
	t.Helper()
	list, err := Recipients(to)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := Encrypt(&b, list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// decrypt decrypts with the identities of files.
func decrypt(t *testing.T, from io.Reader, files ...string) ([]byte, error) {
	t.Helper()
	with, err := Identities(files)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Decrypt(from, with)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(plain)
}

func TestThereAndBack(t *testing.T) {
	text := bytes.Repeat([]byte("secret of the container "), 20000) // several pieces of 64 KiB
	all := pairs(t)
	for name, p := range all {
		t.Run(name, func(t *testing.T) {
			cipher := encrypt(t, text, p.public)
			if bytes.Contains(cipher, []byte("secret of")) {
				t.Error("the plain text is in it")
			}
			if got, err := decrypt(t, bytes.NewReader(cipher), p.file); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			for other, q := range all {
				if other == name {
					continue
				}
				if _, err := decrypt(t, bytes.NewReader(cipher), q.file); !errors.Is(err, ErrLocked) {
					t.Errorf("with the key of %s: %v", other, err)
				}
			}
		})
	}
	t.Run("several", func(t *testing.T) {
		list := filepath.Join(t.TempDir(), "recipients")
		if err := os.WriteFile(list, []byte("# team\n\n"+all["ssh"].public+all["x25519"].public+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cipher := encrypt(t, text, list)
		for _, name := range []string{"ssh", "x25519"} {
			if got, err := decrypt(t, bytes.NewReader(cipher), all["hybrid"].file, all[name].file); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	})
}

// TestForged changes every byte of the beginning, some of the rest, and cuts at many places.
func TestForged(t *testing.T) {
	p := pairs(t)["x25519"]
	text := make([]byte, 130<<10)
	cipher := encrypt(t, text, p.public)
	step := 1
	for at := 0; at < len(cipher); at += step {
		if at > 400 {
			step = 4999
		}
		bad := bytes.Clone(cipher)
		bad[at] ^= 1
		got, err := decrypt(t, bytes.NewReader(bad), p.file)
		if err == nil || !errors.Is(err, ErrForged) && !errors.Is(err, ErrPlain) && !errors.Is(err, ErrLocked) {
			t.Fatalf("byte %d changed: %d bytes, %v", at, len(got), err)
		}
		if _, err = decrypt(t, bytes.NewReader(cipher[:at]), p.file); err == nil {
			t.Fatalf("cut at %d: no error", at)
		}
	}
	if _, err := decrypt(t, bytes.NewReader(append(bytes.Clone(cipher), 0)), p.file); !errors.Is(err, ErrForged) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestPlainAndLocked(t *testing.T) {
	p := pairs(t)["x25519"]
	if _, err := decrypt(t, strings.NewReader("plain"), p.file); !errors.Is(err, ErrPlain) {
		t.Errorf("a plain stream with an identity: %v", err)
	}
	if got, err := decrypt(t, strings.NewReader("plain")); err != nil || string(got) != "plain" {
		t.Errorf("a plain stream: %q, %v", got, err)
	}
	cipher := encrypt(t, []byte("x"), p.public)
	if _, err := decrypt(t, bytes.NewReader(cipher)); !errors.Is(err, ErrLocked) {
		t.Errorf("without a key: %v", err)
	}
	broken := errors.New("line is down")
	for _, n := range []int{0, 10, 100, len(cipher) - 1} {
		from := io.MultiReader(bytes.NewReader(cipher[:n]), iotest.ErrReader(broken))
		if _, err := decrypt(t, from, p.file); !errors.Is(err, broken) || errors.Is(err, ErrForged) {
			t.Errorf("broken at %d: %v", n, err)
		}
	}
}

// TestBadKeys tells what is wrong, without secrets.
func TestBadKeys(t *testing.T) {
	all := pairs(t)
	secret, err := os.ReadFile(all["x25519"].file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("word"))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"age1xyz", "ssh-rsa nonsense", "/none", dir, write("empty", "# none\n"), all["x25519"].file, "/dev/zero"} {
		_, err := Recipients([]string{bad})
		if !errors.Is(err, ErrKey) || strings.Contains(err.Error(), "AGE-SECRET") || strings.Contains(err.Error(), string(secret)) {
			t.Errorf("recipient %s: %v", bad, err)
		}
	}
	for _, bad := range []string{"/none", dir, write("none", ""), write("public", all["x25519"].public), write("pem", "-----BEGIN NOTHING-----\n"), write("locked", string(pem.EncodeToMemory(block)))} {
		if _, err := Identities([]string{bad}); !errors.Is(err, ErrKey) {
			t.Errorf("identity %s: %v", bad, err)
		}
	}
}

// FuzzDecrypt: whatever comes, there is an error or a plain text, and no panic.
func FuzzDecrypt(f *testing.F) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	w, _ := Encrypt(&b, []Recipient{id.Recipient()})
	_, _ = w.Write([]byte("text"))
	w.Close()
	f.Add(b.Bytes())
	f.Add([]byte(intro))
	f.Add([]byte("plain"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, with := range [][]Identity{nil, {id}} {
			plain, err := Decrypt(bytes.NewReader(data), with)
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, plain)
		}
	})
}
