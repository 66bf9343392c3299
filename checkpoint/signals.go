package checkpoint

import (
	"github.com/rethaw/rethaw/specs"
	"golang.org/x/sys/unix"
)

// lastSignal is _NSIG: signals are 1..64.
const lastSignal = 64

// sigactionSize is sizeof(struct kernel_sigaction): handler, flags, restorer,
// mask.
const sigactionSize = 32

// askHandlers asks for the dispositions that are not the default ones.
func askHandlers(q *inquiry, p *process) {
	for sig := int32(1); sig <= lastSignal; sig++ {
		if sig == int32(unix.SIGKILL) || sig == int32(unix.SIGSTOP) {
			continue
		}
		q.ask(sigactionSize, func(ret int64, b []byte) {
			h := specs.Handler{Signal: sig, Handler: word(b), Flags: word(b[8:]), Restorer: word(b[16:]), Mask: word(b[24:])}
			if ret == 0 && h != (specs.Handler{Signal: sig}) {
				p.record.Handlers = append(p.record.Handlers, h)
			}
		}, unix.SYS_RT_SIGACTION, uint64(sig), 0, out, 8)
	}
}

// siginfos gives queued signals their type.
func siginfos(raw [][]byte) []specs.Siginfo {
	var infos []specs.Siginfo
	for _, b := range raw {
		infos = append(infos, b)
	}
	return infos
}
