package sealed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// ErrKey means that something is no recipient or identity.
var ErrKey = errors.New("bad key")

// maxKeys bounds a file with keys, in bytes.
const maxKeys = 1 << 20

// Recipient is one who can decrypt.
type Recipient = age.Recipient

// Identity decrypts.
type Identity = age.Identity

// Recipients reads public keys: each of list is one, or the path of a file with one on each
// line, empty lines and comments (#) aside. Its errors are ErrKey.
func Recipients(list []string) ([]Recipient, error) {
	var all []Recipient
	for _, s := range list {
		if IsRecipient(s) {
			r, err := recipient(s)
			if err != nil {
				return nil, fmt.Errorf("%w: recipient %.100q: %w", ErrKey, s, err)
			}
			all = append(all, r)
			continue
		}
		some, err := recipientsFile(s)
		if err != nil {
			return nil, fmt.Errorf("%w: recipients in %s: %w (a recipient is age1..., ssh-ed25519 ..., ssh-rsa ... or a file with such lines)", ErrKey, s, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// IsRecipient tells a key from the path of a file.
func IsRecipient(s string) bool {
	return strings.HasPrefix(s, "age1") && !strings.Contains(s, "/") || strings.HasPrefix(s, "ssh-")
}

// recipient parses one public key.
func recipient(s string) (Recipient, error) {
	if strings.HasPrefix(s, "ssh-") {
		return agessh.ParseRecipient(s)
	}
	some, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil {
		return nil, err
	}
	return some[0], nil
}

// recipientsFile reads the public keys of a file.
func recipientsFile(path string) ([]Recipient, error) {
	text, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	var all []Recipient
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxKeys)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		// The line is not told: it may be a secret that got into the wrong file.
		r, err := recipient(line)
		if err != nil {
			return nil, fmt.Errorf("line %d is no recipient", n)
		}
		all = append(all, r)
	}
	if len(all) == 0 && lines.Err() == nil {
		return nil, errors.New("there are none")
	}
	return all, lines.Err()
}

// Identities reads private keys from files: each is one of age's, with a key on each line, or
// one of SSH without a passphrase. Its errors are ErrKey, and tell no secrets.
func Identities(paths []string) ([]Identity, error) {
	var all []Identity
	for _, path := range paths {
		some, err := identitiesFile(path)
		if err != nil {
			return nil, fmt.Errorf("%w: identity %s: %w", ErrKey, path, err)
		}
		all = append(all, some...)
	}
	return all, nil
}

func identitiesFile(path string) ([]Identity, error) {
	text, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(text, []byte("-----BEGIN")) {
		some, err := age.ParseIdentities(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%w (make one with age-keygen)", err)
		}
		return some, nil
	}
	one, err := agessh.ParseIdentity(text)
	if locked := new(ssh.PassphraseMissingError); errors.As(err, &locked) {
		return nil, errors.New("it is locked with a passphrase: use a key without one")
	}
	if err != nil {
		return nil, err
	}
	return []Identity{one}, nil
}

// readKeys reads a file with keys. Nothing that would keep us waiting is one.
func readKeys(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("it is a directory")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err == nil && len(text) > maxKeys {
		err = fmt.Errorf("it has more than %d bytes", maxKeys)
	}
	return text, err
}
