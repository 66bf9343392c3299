package restore

// largeFile is the kernel's O_LARGEFILE, which open(2) sets on every description
// of a 64-bit program, and pipe(2) on none. The C library defines it as 0.
const largeFile = 0o400000
