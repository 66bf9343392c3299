// Package sealed encrypts streams to those who may read them, and decrypts them.
//
// The format is that of age (https://age-encryption.org/v1), so that age(1) and its
// relatives read what we write and the other way round. A stream is encrypted to RECIPIENTS -
// public keys of age (age1..., X25519 or with ML-KEM against quantum computers) or of
// SSH (ssh-ed25519, ssh-rsa) - and decrypted by an IDENTITY, the private key of one of them. The
// machine that checkpoints needs no secret.
//
// The payload goes in pieces of 64 KiB, each of them authenticated (ChaCha20-Poly1305) before a byte
// of it is handed out: what was changed, moved or cut off is an error. That tells that the stream is
// as its writer wrote it, and not who that was: whoever knows a recipient, which is public, can
// write one. Who must know the maker compares the digest of the image (image.Reader.Digest).
//
// Passphrases, plugins and ASCII armor are left out: nobody sits at a checkpoint.
package sealed
