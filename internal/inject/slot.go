package inject

// Layout of the arena: one page of code, then the control block with its calls,
// then data for arguments and results, and a small stack at the end, which the
// blob needs to load the flags.
const (
	codeSize = 4096
	slotOff  = codeSize
	callsOff = 256
	// MaxCalls is how many calls one batch can hold.
	MaxCalls   = 384
	maxCleanup = 16
	cleanupOff = callsOff + MaxCalls*callSize
	dataOff    = slotOff + 32<<10
	stackSize  = 4096
	callSize   = 64
)

// Size of the arena of a checkpoint, in bytes.
const Size = 128 << 10

// slot is the control block: what blob and tracer tell each other. The blob
// knows these offsets.
type slot struct {
	command uint32 // 0: futex, raised by the tracer
	done    uint32 // 4: futex, the last command that was run
	count   uint64 // 8: calls in the batch
	owner   uint64 // 16: address of the owner word in the task
	stop    uint64 // 24: not 0 to stop a batch at the first error
	waitv   [2]waitv
	flags   uint64 // 80: the task's flags register
	leave   uint64 // 88: address of the stub's way out
	stack   uint64 // 96: top of the small stack
	cleanup uint64 // 104: number of cleanup calls
	ownerw  uint32 // 112: the owner word: the tracer's thread | FUTEX_WAITERS
	_       uint32
	// node is the entry of the tracer's robust list. Its next pointer is an
	// address of the tracer.
	node uint64 // 120
}

const (
	ownerOff = 112
	nodeOff  = 120
)

// waitv is struct futex_waitv (futex_waitv(2)).
type waitv struct {
	val   uint64
	uaddr uint64
	flags uint32
	_     uint32
}

const (
	futexWaiters   = 0x80000000
	futexOwnerDied = 0x40000000
	futexSize32    = 0x02
)
