package checkpoint

// Stats are the figures of one checkpoint, for --print-stats. Times are in
// microseconds.
type Stats struct {
	// Freezing is from the first stop to the last, Frozen from the first stop
	// to the release (or the kill) of all tasks.
	Freezing int64 `json:"freezing_time"`
	Frozen   int64 `json:"frozen_time"`
	// Memory is the time to write the pages, Write that of everything else that
	// is written while frozen, Total that of the whole checkpoint.
	Memory int64 `json:"memdump_time"`
	Write  int64 `json:"memwrite_time"`
	Total  int64 `json:"total_time"`
	// Pages counts those looked at, written, left out as zero and left out
	// because they are shared with the parent.
	PagesScanned int64 `json:"pages_scanned"`
	PagesWritten int64 `json:"pages_written"`
	PagesZero    int64 `json:"pages_zero"`
	PagesShared  int64 `json:"pages_shared"`
	Tasks        int   `json:"tasks"`
	Threads      int   `json:"threads"`
	// Bytes is the size of the image.
	Bytes int64 `json:"bytes"`
}
