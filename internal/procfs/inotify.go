package procfs

import (
	"bytes"
	"encoding/hex"
	"math"
)

// InotifyWatch is one watch of an inotify(7) instance (fs/notify/fdinfo.c,
// inotify_fdinfo).
type InotifyWatch struct {
	// WD is the watch descriptor. The kernel writes it in hexadecimal, other
	// than proc_pid_fdinfo(5) says.
	WD int
	// Ino and Dev are the watched inode; Dev in the form of EpollWatch.Dev.
	Ino uint64
	Dev uint32
	// Mask are IN_* with IN_ONESHOT and IN_EXCL_UNLINK.
	Mask uint32
	// HandleType and Handle are those of struct file_handle for
	// open_by_handle_at(2); nil if the filesystem has none.
	HandleType int
	Handle     []byte
}

// Major and Minor are the device that Dev stands for.
func (w *InotifyWatch) Major() uint32 { return w.Dev >> 20 }

// Minor is the minor number of Dev.
func (w *InotifyWatch) Minor() uint32 { return w.Dev & (1<<20 - 1) }

// maxHandle is MAX_HANDLE_SZ in bytes (include/linux/exportfs.h).
const maxHandle = 128

// ParseInotify reads one line of FDInfo.Inotify, "inotify wd:14 ino:9862c5
// sdev:fe00000 mask:2 ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:c562...".
// A word that it does not know is an error.
func ParseInotify(line string) (InotifyWatch, error) {
	rest, found := bytes.CutPrefix([]byte(line), []byte("inotify "))
	if !found {
		return InotifyWatch{}, badLine("inotify", 1, []byte(line), "does not begin with inotify")
	}
	var w InotifyWatch
	var wd, dev, mask, ignored, size, kind uint64
	numbers := map[string]*uint64{
		"wd": &wd, "ino": &w.Ino, "sdev": &dev, "mask": &mask, "ignored_mask": &ignored,
		"fhandle-bytes": &size, "fhandle-type": &kind,
	}
	seen := 0
	for len(trim(rest)) > 0 {
		var word []byte
		word, rest = nextField(rest)
		key, value, _ := bytes.Cut(word, []byte(":"))
		to, known := numbers[string(key)]
		ok := false
		switch {
		case known:
			*to, ok = parseUint(value, 16)
			seen++
		case string(key) == "f_handle" && len(value) <= 2*maxHandle:
			var err error
			w.Handle, err = hex.DecodeString(string(value))
			ok = err == nil
		}
		if !ok {
			return InotifyWatch{}, badLine("inotify", 1, word, "not understood")
		}
	}
	if seen < 4 || wd > math.MaxInt32 || dev > math.MaxUint32 || mask > math.MaxUint32 ||
		kind > math.MaxInt32 || size != uint64(len(w.Handle)) {
		return InotifyWatch{}, badLine("inotify", 1, []byte(line), "words are missing or out of range")
	}
	w.WD, w.Dev, w.Mask, w.HandleType = int(wd), uint32(dev), uint32(mask), int(kind)
	return w, nil
}
