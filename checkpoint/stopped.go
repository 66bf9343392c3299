package checkpoint

import "golang.org/x/sys/unix"

// si_code of a child that stopped or went on (include/uapi/asm-generic/siginfo.h).
const (
	cldStopped   = 5
	cldContinued = 6
)

// askChildren asks a parent which stops and continuations of its children it
// has not been told yet, without taking the report away (WNOWAIT).
func (d *dump) askChildren(q *inquiry, p *process) {
	for _, c := range d.procs {
		if c.parent != p || c.zombie {
			continue
		}
		q.ask(128, func(ret int64, b []byte) {
			if ret != 0 || word32(b) == 0 {
				return
			}
			switch word32(b[8:]) {
			case cldStopped:
				c.record.Stop = "stopped"
			case cldContinued:
				c.record.Stop = "continued"
			}
		}, unix.SYS_WAITID, unix.P_PID, uint64(c.nspid), out,
			unix.WSTOPPED|unix.WCONTINUED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, 0)
	}
}
