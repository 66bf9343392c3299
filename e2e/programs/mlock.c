/*
 * State: mlockall(MCL_CURRENT|MCL_FUTURE|MCL_ONFAULT) in one process, and in another single mappings locked by mlock and by
 * mlock2(MLOCK_ONFAULT), below a limit that does not allow more.
 * Wrong could go: MCL_FUTURE lost (a new mapping is then not locked), ONFAULT pages populated, the lock limit that the
 * restore itself runs into, VmLck.
 */
#include "harness.h"
#include <sys/resource.h>
#include <sys/wait.h>

#define P 4096UL
static long locked(void)
{
	char s[64];
	return h_field("/proc/self/status", "VmLck", s, sizeof s) ? atol(s) : -1;
}
static int flags_of(void *addr, const char *flag) /* in smaps' VmFlags */
{
	static char text[1 << 17];
	unsigned long a, b;
	int in = 0, has = 0;
	h_slurp("/proc/self/smaps", text, sizeof text);
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
		if (sscanf(l, "%lx-%lx ", &a, &b) == 2)
			in = a <= (uintptr_t)addr && (uintptr_t)addr < b;
		else if (in && !strncmp(l, "VmFlags:", 8))
			has = !!strstr(l, flag);
	return has;
}
static size_t resident(char *p, size_t pages)
{
	unsigned char vec[512];
	size_t n = 0;
	mincore(p, pages * P, vec);
	for (size_t i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}
static char *map(size_t pages) { return MUST(mmap(NULL, pages * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); }

int main(void)
{
	struct rlimit lim;
	h_init();
	MUST(getrlimit(RLIMIT_MEMLOCK, &lim));
	if (lim.rlim_cur < 16 * P)
		SKIP("the limit of locked memory is %lu bytes", lim.rlim_cur);
	if (!MUST(fork())) { /* just below the limit, whatever it is */
		lim = (struct rlimit){16 * P, 16 * P};
		char *a = map(16), *b = map(64), *c = map(8);
		MUST(setrlimit(RLIMIT_MEMLOCK, &lim));
		fill(a, 16 * P, 1), fill(b, 4 * P, 2);
		MUST(mlock(a + 2 * P, 6 * P)); /* splits the mapping */
		MUST(syscall(SYS_mlock2, b, 10 * P, 1 /* MLOCK_ONFAULT */));
		long was = locked();
		size_t populated = resident(b, 10);
		h_part("below");
		while (wait_check()) {
			CHECK(verify(a, 16 * P, 1) < 0 && verify(b, 4 * P, 2) < 0, "content");
			CHECK(locked() == was, "%ld KB locked, %ld were", locked(), was);
			CHECK(flags_of(a + 3 * P, " lo") && !flags_of(a, " lo") && !flags_of(a + 8 * P, " lo") && flags_of(b, " lo") && !flags_of(b + 10 * P, " lo"), "what is locked");
			CHECK(resident(b, 10) == populated, "%zu pages that are locked when they come are there, not %zu", resident(b, 10), populated);
			char cap[32];
			h_field("/proc/self/status", "CapEff", cap, sizeof cap);
			if (!(strtoull(cap, NULL, 16) >> 14 & 1)) /* CAP_IPC_LOCK knows no limit */
				CHECK(mlock(c, P) < 0 && (errno == ENOMEM || errno == EPERM || errno == EAGAIN), "more can be locked than the limit allows");
		}
		_exit(0);
	}
	char *a = map(16), *all = NULL;
	fill(a, 8 * P, 3);
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) /* needs more than the limit: just future ones then */
		MUST(mlockall(MCL_FUTURE | MCL_ONFAULT));
	else
		all = a;
	long was = locked();
	ready();
	while (wait_check()) {
		CHECK(verify(a, 8 * P, 3) < 0 && (!all || flags_of(a, " lo")), "content, or the lock of all");
		CHECK(locked() == was, "%ld KB locked, %ld were", locked(), was);
		char *fresh = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (fresh == MAP_FAILED)
			h_fail("a new mapping: %s", strerror(errno));
		else
			CHECK(flags_of(fresh, " lo") && locked() == was + 4 && resident(fresh, 1) == 0 && !munmap(fresh, P), "a new mapping is not locked by itself, or is populated");
		h_collect("below");
	}
	return 0;
}
