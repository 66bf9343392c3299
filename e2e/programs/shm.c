/*
 * State: shared anonymous memory among three processes (one mapped twice by mremap, one part unmapped, one read-only),
 * sparse, and with memory that nobody maps any more but a child; a memfd mapped in two; SysV shm attached twice.
 * Wrong could go: copies instead of sharing, holes populated, the part that only the child maps lost, sizes beyond the
 * mapping, attach counts and the read-only attach.
 */
#include "harness.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define P 4096UL
#define SIZE (256 * P)
static char *anon, *twice, *gone, *big, *mem, *sys1, *sys2, *moved;
static int memfd, shmid;

static size_t resident(char *p, size_t pages)
{
	static unsigned char vec[65536];
	size_t n = 0;
	if (mincore(p, pages * P, vec))
		return (size_t)-1;
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}
static void contents(void)
{
	CHECK(verify(anon, 32 * P, 1) < 0 && verify(anon + 200 * P, 8 * P, 2) < 0, "shared anonymous memory");
	CHECK(verify(big + 40000 * P, P, 3) < 0, "sparse shared memory");
	CHECK(verify(mem, 16 * P, 4) < 0, "memfd");
	CHECK(verify(sys1, 8 * P, 5) < 0 && verify(sys2, 8 * P, 5) < 0, "SysV shared memory");
}
/* serve answers, in shared memory, to what the others write: slot i of the page at 100 */
static volatile uint64_t *slot(char *area, int i) { return (volatile uint64_t *)(void *)area + i; }
static void serve(const char *name, int me)
{
	h_part(name);
	while (wait_check()) {
		contents();
		for (char **a = (char *[]){anon + 100 * P, mem + 20 * P, sys1 + 10 * P, NULL}; *a; a++) {
			*slot(*a, me) = h.nonce + (uint64_t)h.check;
			CHECK(WAIT_FOR(*slot(*a, 0) == h.nonce + (uint64_t)h.check), "what the main process writes does not show here");
		}
		if (me == 1)
			CHECK(verify(gone, SIZE, 6) < 0, "memory that only this process still maps");
		if (me == 2)
			CHECK(verify(moved, 32 * P, 1) < 0, "the part moved by mremap");
	}
	_exit(0);
}

int main(void)
{
	h_init();
	anon = MUST(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	gone = MUST(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	big = MUST(mmap(NULL, 65536 * P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	memfd = MUST(memfd_create("shm.c", MFD_CLOEXEC));
	MUST(ftruncate(memfd, 64 * P));
	mem = MUST(mmap(NULL, 32 * P, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0));
	shmid = MUST(shmget(IPC_PRIVATE, 20 * P + 100, IPC_CREAT | 0640));
	sys1 = MUST(shmat(shmid, NULL, 0)), sys2 = MUST(shmat(shmid, NULL, SHM_RDONLY));
	fill(anon, 32 * P, 1), fill(anon + 200 * P, 8 * P, 2), fill(big + 40000 * P, P, 3), fill(mem, 16 * P, 4), fill(sys1, 8 * P, 5), fill(gone, SIZE, 6);
	fill(anon + 220 * P, P, 7);
	twice = MUST(mremap(anon, 0, 128 * P, MREMAP_MAYMOVE)); /* an old size of 0 maps shared memory once more */
	if (!MUST(fork()))
		serve("one", 1);
	munmap(gone, SIZE);
	if (!MUST(fork())) {
		moved = MUST(mmap(NULL, 32 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		moved = MUST(mremap(twice, 32 * P, 32 * P, MREMAP_MAYMOVE | MREMAP_FIXED, moved));
		munmap(anon + 128 * P, 64 * P);
		MUST(mprotect(anon + 192 * P, 64 * P, PROT_READ));
		serve("two", 2);
	}
	mprotect(anon + 220 * P, P, PROT_NONE);
	struct shmid_ds ds, was;
	MUST(shmctl(shmid, IPC_STAT, &was));
	size_t res = resident(big, 65536);
	ready();

	while (wait_check()) {
		contents();
		for (char **a = (char *[]){anon + 100 * P, mem + 20 * P, sys1 + 10 * P, NULL}; *a; a++) {
			*slot(*a, 0) = h.nonce + (uint64_t)h.check;
			for (int i = 1; i < 3; i++)
				CHECK(WAIT_FOR(*slot(*a, i) == h.nonce + (uint64_t)h.check), "what process %d writes does not show here", i);
		}
		CHECK(twice[100 * P] == anon[100 * P] && !memcmp(twice, anon, 128 * P), "the second map of the shared memory is another memory");
		CHECK(sys2[10 * P] == sys1[10 * P], "the second attach is of another segment");
		mprotect(anon + 220 * P, P, PROT_READ);
		CHECK(verify(anon + 220 * P, P, 7) < 0, "shared memory under PROT_NONE");
		mprotect(anon + 220 * P, P, PROT_NONE);
		CHECK(resident(big, 65536) == res, "%zu pages of the sparse shared memory are populated, not %zu", resident(big, 65536), res);
		CHECK(!shmctl(shmid, IPC_STAT, &ds), "the segment: %s", strerror(errno));
		CHECK(ds.shm_nattch == was.shm_nattch && ds.shm_nattch == 6 && ds.shm_segsz == was.shm_segsz && ds.shm_perm.mode == was.shm_perm.mode,
		      "the segment: %lu attached, size %zu, mode %o", (unsigned long)ds.shm_nattch, ds.shm_segsz, ds.shm_perm.mode);
		CHECK(mprotect(sys2, P, PROT_READ | PROT_WRITE) < 0, "the read-only attach can be made writable");
		CHECK(lseek(memfd, 0, SEEK_END) == 64 * (off_t)P, "size of the memfd");
		char c;
		CHECK(pread(memfd, &c, 1, 3) == 1 && c == mem[3], "the memfd and its map have parted");
		void *third = shmat(shmid, NULL, 0);
		CHECK(third != (void *)-1 && verify(third, 8 * P, 5) < 0 && !shmdt(third), "a new attach");
		h_collect("one"), h_collect("two");
	}
	shmctl(shmid, IPC_RMID, NULL);
	return 0;
}
