// Package procfs reads what the kernel tells about tasks in /proc.
//
// It has two layers. The parsers (ParseStat, ParseSmaps, ParseFDInfo...) are pure
// functions from the bytes of one file to a typed struct: they do no I/O, keep
// nothing, never panic and allocate in proportion to their input, so that each
// one can be fuzzed and tested with samples of any kernel. The readers
// (ReadStat, ReadSmaps, ReadFDInfo...) read a file whole, with as few system
// calls as procfs allows, hand it to the parser, and put the pid and the file's
// name on any error.
//
// Numbers are given in the unit the caller wants (bytes, nanoseconds), not in
// that of the file (kB, clock ticks), unless a field says otherwise. Pids and
// tids are those of the pid namespace that /proc was mounted in, the host's.
//
// Some texts are chosen by the tasks themselves and can imitate the syntax
// around them: a command name with parentheses and line feeds, a path that ends
// in " (deleted)", an abstract socket name with a line feed. Where a parser can
// tell them apart it does; where the kernel's own output is ambiguous the
// documentation of the field says so and names a better source.
//
// The formats are those of proc(5), its pages proc_pid_stat(5)..., and of the
// kernel's fs/proc.
package procfs
