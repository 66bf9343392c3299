// Package kmem reads the kernel's own memory, for the few things that no system
// call shows (what was sent over a connection that is not accepted yet). It only
// reads, so nothing is disturbed.
//
// How it works:
//
//  1. a small BPF program copies kernel memory into its context
//     (bpf_probe_read_kernel, bpf-helpers(7)); it is run by BPF_PROG_TEST_RUN as
//     often as wanted. An address that is not mapped gives an error, no fault.
//     Programs of type SYSCALL came with Linux 5.14 (bpf.go).
//  2. where the fields of structures are is told by the kernel's type information
//     in /sys/kernel/btf/vmlinux (btf.go).
//  3. the way in is our own task_struct, whose address a helper gives: from there
//     over the table of descriptors to any file that we hold (reader.go).
//  4. data in pages is given by struct page pointers; where these pages are
//     mapped is found out with a page of our own (page.go).
//
// It needs CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, and a kernel that is
// not locked down (kernel_lockdown(7)).
package kmem
