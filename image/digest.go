package image

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/rethaw/rethaw/specs"
)

// ErrDigest is an image that is another than the one that was asked for.
var ErrDigest = errors.New("image has another digest")

// digestPrefix names the hash function as OCI descriptors do.
const digestPrefix = "sha256:"

// digestDomain begins what a digest is computed of, so that no signature for something else fits.
const digestDomain = "rethaw image digest 1\n"

// Digest is the SHA-256 that stands for the whole image, "sha256:" and 64 hexadecimal digits. It is
// that of digestDomain and then, for image.rt and each member in the order in which that lists
// them, the length of the name (u64, little-endian), the name, the size (u64) and the SHA-256 of the bytes. So
// it is the same for the image as a directory and in any stream, compressed or encrypted, and a
// signature of it holds for all of them. All bytes are read, so that a stream has to land first (Land);
// progress may be nil.
func (r *Reader) Digest(ctx context.Context, progress func(done, total int64)) (string, error) {
	if r.dir == nil {
		return "", errors.New("digest of a stream, which can be read but once")
	}
	list := []specs.Member{{Name: specs.ImageFile, Size: r.size}}
	list = append(list, r.members...)
	sums := make([][]byte, len(list))
	var total, done int64
	for _, m := range list {
		total += m.Size
	}
	var mu sync.Mutex
	moved := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		done += n
		if progress != nil {
			progress(done, total)
		}
	}
	group, ctx := parallel(ctx)
	for i, m := range list {
		group.Go(func() (err error) {
			sums[i], err = r.sha256(ctx, m, moved)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", fmt.Errorf("digest of image %s: %w", r.Path(), err)
	}
	all := sha256.New()
	io.WriteString(all, digestDomain)
	for i, m := range list {
		all.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(m.Name))))
		io.WriteString(all, m.Name)
		all.Write(binary.LittleEndian.AppendUint64(nil, uint64(m.Size)))
		all.Write(sums[i])
	}
	return digestPrefix + hex.EncodeToString(all.Sum(nil)), nil
}

// sha256 is that of one file.
func (r *Reader) sha256(ctx context.Context, m specs.Member, moved func(int64)) ([]byte, error) {
	file, size, err := r.dir.open(m.Name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size != m.Size {
		return nil, bad(ErrCorrupt, file.Name(), "the file has %d bytes and had %d", size, m.Size)
	}
	hash := sha256.New()
	if err := copyAll(ctx, io.MultiWriter(hash, counter(moved)), io.NewSectionReader(file, 0, size)); err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return hash.Sum(nil), nil
}

// counter is told of bytes.
type counter func(int64)

func (c counter) Write(b []byte) (int, error) {
	c(int64(len(b)))
	return len(b), nil
}

// ParseDigest checks the form of a digest.
func ParseDigest(s string) (string, error) {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	if sum, err := hex.DecodeString(digits); !ok || err != nil || len(sum) != sha256.Size || strings.ToLower(s) != s {
		return "", fmt.Errorf("%.100q is no digest: it is %s and 64 hexadecimal digits, as rethaw verify --digest prints it", s, digestPrefix)
	}
	return s, nil
}

// CheckDigest compares the image with the digest that it should have; "" is any. It is ErrDigest.
func (r *Reader) CheckDigest(ctx context.Context, want string) error {
	if want == "" {
		return nil
	}
	got, err := r.Digest(ctx, nil)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: %w: it is %s and should be %s", r.Path(), ErrDigest, got, want)
	}
	return nil
}
