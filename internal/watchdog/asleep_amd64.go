package watchdog

import "github.com/rethaw/rethaw/internal/inject"

func asleepStart() uintptr

// asleepCode is the machine code of the program that sleeps.
func asleepCode() []byte { return inject.Code(asleepStart()) }
