package image

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// haste has the disk begin while more is to come (WithHaste): each member is synced, beside what else is
// done, as soon as it is whole. A nil haste does nothing.
type haste struct {
	mu    sync.Mutex
	syncs map[string]*syncing
}

// syncing is an fsync(2) under way.
type syncing struct {
	// size is that of the file when it began, in bytes.
	size int64
	done chan struct{}
	err  error
}

// hastyPiece is how many bytes of a file the disk is given at a time.
const hastyPiece = 8 << 20

// wrote is told that the bytes from start to end of a file that grows have been written.
func (h *haste) wrote(file *os.File, start, end int64) {
	if h != nil && start/hastyPiece != end/hastyPiece {
		// That it cannot is no error: the fsync later does all.
		_ = unix.SyncFileRange(int(file.Fd()), (end/hastyPiece-1)*hastyPiece, hastyPiece, unix.SYNC_FILE_RANGE_WRITE)
	}
}

// whole is told that nothing more comes to a member.
func (h *haste) whole(name string, file *os.File, size int64) {
	if h == nil {
		return
	}
	s := &syncing{size: size, done: make(chan struct{})}
	h.mu.Lock()
	h.syncs[name] = s
	h.mu.Unlock()
	go func() {
		defer close(s.done)
		s.err = file.Sync()
	}()
}

// synced waits until a member of size bytes is on stable storage, if that was begun and nothing has come
// since.
func (h *haste) synced(name string, size int64) (bool, error) {
	if h == nil {
		return false, nil
	}
	h.mu.Lock()
	s := h.syncs[name]
	h.mu.Unlock()
	if s == nil || s.size != size {
		return false, nil
	}
	<-s.done
	return s.err == nil, s.err
}
