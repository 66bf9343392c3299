package specs

// ProcessAttributes are settings of a process that few programs change.
type ProcessAttributes struct {
	// Membarrier are the commands MEMBARRIER_CMD_REGISTER_* that were called, one bit
	// each (membarrier(2)).
	Membarrier uint32 `cbor:"1,keyasint,omitempty"`
	// MemoryMerge is that of PR_SET_MEMORY_MERGE.
	MemoryMerge bool `cbor:"2,keyasint,omitempty"`
	// THPAdvised tells of Task.THPDisable that areas with MADV_HUGEPAGE are excepted
	// (PR_THP_DISABLE_EXCEPT_ADVISED).
	THPAdvised bool `cbor:"3,keyasint,omitempty"`
	// Autogroup is the nice value of the session's group (/proc/PID/autogroup, sched(7)).
	Autogroup int32 `cbor:"4,keyasint,omitempty"`
}

// ThreadAttributes are settings of a thread that few programs change.
type ThreadAttributes struct {
	// MCEKill is that of PR_MCE_KILL plus one: 0 for the default, 1 for late, 2 for
	// early.
	MCEKill int32 `cbor:"1,keyasint,omitempty"`
	// Speculation are the controls of PR_SET_SPECULATION_CTRL that were used.
	Speculation []Speculation `cbor:"2,keyasint,omitempty"`
	// Policy is that of set_mempolicy(2).
	Policy *MemoryPolicy `cbor:"3,keyasint,omitempty"`
}

// Speculation is one control of PR_SET_SPECULATION_CTRL (prctl(2)).
type Speculation struct {
	// Which is PR_SPEC_STORE_BYPASS and so on, Control PR_SPEC_DISABLE and so on.
	Which   int32  `cbor:"1,keyasint,omitempty"`
	Control uint32 `cbor:"2,keyasint,omitempty"`
}

// MemoryPolicy is a policy of NUMA memory (set_mempolicy(2), mbind(2)).
type MemoryPolicy struct {
	// Mode is MPOL_* with the flags MPOL_F_*.
	Mode uint32 `cbor:"1,keyasint,omitempty"`
	// Nodes is the mask of nodes, the lowest first.
	Nodes []byte `cbor:"2,keyasint,omitempty"`
}

// Zero tells whether nothing is set.
func (a *ProcessAttributes) Zero() bool { return *a == ProcessAttributes{} }

// Zero tells whether nothing is set.
func (a *ThreadAttributes) Zero() bool {
	return a.MCEKill == 0 && len(a.Speculation) == 0 && a.Policy == nil
}

func (a *ProcessAttributes) validate() error {
	if a == nil {
		return nil
	}
	// MEMBARRIER_CMD_REGISTER_*.
	return first(subset("membarrier", a.Membarrier, 1<<2|1<<4|1<<6|1<<8), within("autogroup", a.Autogroup, -20, 19))
}

func (a *ThreadAttributes) validate() error {
	if a == nil {
		return nil
	}
	return first(within("policy of memory errors", a.MCEKill, 0, 2), atMost("speculation", len(a.Speculation), 16),
		each("speculation", a.Speculation, func(s *Speculation) error {
			return first(within("kind", s.Which, 0, 15), subset("control", s.Control, 1<<1|1<<2|1<<3|1<<4))
		}), a.Policy.validate())
}

func (p *MemoryPolicy) validate() error {
	const modeFlags = 1<<13 | 1<<14 | 1<<15 // MPOL_MODE_FLAGS
	if p == nil {
		return nil
	}
	return first(within("memory policy", p.Mode&^modeFlags, 1, 6), atMost("nodes", len(p.Nodes), 128))
}
