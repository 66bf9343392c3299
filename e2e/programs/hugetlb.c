/*
 * State: huge pages (hugetlbfs) of every kind: private anonymous memory in part populated, shared anonymous memory and a
 * memfd in two processes, a read-only map, SysV shared memory where the program may make it.
 * Wrong could go: ordinary pages in place of huge ones, sharing, pages populated that were not, the seals.
 */
#include "harness.h"
#include <sys/ipc.h>
#include <sys/shm.h>

#define H (2UL << 20)
#ifndef MFD_HUGETLB
#define MFD_HUGETLB 4U
#endif
static char *priv, *shared, *mem, *ro, *sysv;
static int fd, shmid;

/* smaps tells what kind of pages is mapped at p */
static unsigned long kernel_page(char *p)
{
	static char line[4096];
	unsigned long from, to, size = 0;
	int inside = 0;
	FILE *f = fopen("/proc/self/smaps", "r");
	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= (unsigned long)p && (unsigned long)p < to;
		else if (inside && sscanf(line, "KernelPageSize: %lu kB", &size) == 1)
			break;
	}
	if (f)
		fclose(f);
	return size;
}
static int resident(char *p)
{
	unsigned char v = 0;
	return mincore(p, 4096, &v) ? -1 : v & 1;
}

int main(void)
{
	h_init();
	priv = mmap(NULL, 2 * H, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (priv == MAP_FAILED)
		SKIP("no huge pages: vm.nr_hugepages");
	shared = MUST(mmap(NULL, H, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0));
	fd = MUST(memfd_create("huge", MFD_HUGETLB | MFD_ALLOW_SEALING));
	MUST(ftruncate(fd, (off_t)H));
	mem = MUST(mmap(NULL, H, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)), ro = MUST(mmap(NULL, H, PROT_READ, MAP_SHARED, fd, 0));
	fill(shared, 10000, 2), fill(mem + H / 2, 5000, 3);
	MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	shmid = shmget(0x52455455, H, IPC_CREAT | IPC_EXCL | SHM_HUGETLB | 0600); /* needs CAP_IPC_LOCK */
	if (shmid >= 0) {
		sysv = MUST(shmat(shmid, NULL, 0));
		fill(sysv + 4096, 9000, 4);
	}
	if (!MUST(fork())) {
		h_part("child");
		while (wait_check()) {
			CHECK(WAIT_FOR(*(volatile int *)(shared + 65536) == h.check && *(volatile int *)(mem + 65536) == h.check), "what the parent writes does not show");
			*(volatile int *)(shared + 69632) = h.check;
		}
		_exit(0);
	}
	fill(priv, 4096, 1), fill(priv + 100 * 4096, 4096, 5);
	ready();

	while (wait_check()) {
		CHECK(verify(priv, 4096, 1) < 0 && verify(priv + 100 * 4096, 4096, 5) < 0 && !priv[8192], "private huge pages");
		CHECK(resident(priv) == 1 && resident(priv + H) == 0, "populated: %d %d", resident(priv), resident(priv + H));
		CHECK(verify(shared, 10000, 2) < 0 && verify(mem + H / 2, 5000, 3) < 0 && verify(ro + H / 2, 5000, 3) < 0, "shared huge pages");
		for (char **p = (char *[]){priv, priv + H, shared, mem, ro, sysv ? sysv : priv, NULL}; *p; p++)
			CHECK(kernel_page(*p) == H / 1024, "the page at %p has %lu kB", (void *)*p, kernel_page(*p));
		CHECK(fcntl(fd, F_GET_SEALS) == F_SEAL_SHRINK && lseek(fd, 0, SEEK_END) == (off_t)H, "the memfd: seals %x", fcntl(fd, F_GET_SEALS));
		CHECK(!sysv || (verify(sysv + 4096, 9000, 4) < 0 && shmget(0x52455455, 0, 0) == shmid), "SysV shared memory");
		*(volatile int *)(shared + 65536) = h.check, *(volatile int *)(mem + 65536) = h.check;
		CHECK(WAIT_FOR(*(volatile int *)(shared + 69632) == h.check), "what the child writes does not show");
		CHECK(*(volatile int *)(ro + 65536) == h.check, "two maps of one memfd have parted");
		h_collect("child");
	}
	if (shmid >= 0)
		shmctl(shmid, IPC_RMID, NULL);
	return 0;
}
