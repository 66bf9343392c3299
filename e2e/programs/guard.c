/*
 * State: guard markers (MADV_GUARD_INSTALL, Linux 6.13) inside a mapping, as allocators and thread stacks have them: they
 * are no VMAs of their own, so that /proc/PID/maps does not show them; pagemap does.
 * Wrong could go: a guard lost (an overflow is then silent), a guard where data was, the pages around them.
 */
#include "harness.h"
#include <setjmp.h>

#define P 4096UL
#define INSTALL 102
#define REMOVE 103
static sigjmp_buf fault;
static void on_fault(int sig) { siglongjmp(fault, sig); }
static int faults(volatile char *p)
{
	int sig = sigsetjmp(fault, 1);
	if (!sig)
		(void)*p;
	return sig;
}
static int guarded(size_t page) { return page % 16 == 0 || (page >= 100 && page < 120); }

int main(void)
{
	struct sigaction sa = {.sa_handler = on_fault};
	h_init();
	sigaction(SIGSEGV, &sa, NULL), sigaction(SIGBUS, &sa, NULL);
	char *area = MUST(mmap(NULL, 256 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	fill(area, 200 * P, 1);
	for (size_t i = 0; i < 256; i++)
		if (guarded(i) && madvise(area + i * P, P, INSTALL)) {
			if (errno == EINVAL)
				SKIP("no guard markers before Linux 6.13");
			DIE("madvise");
		}
	ready();
	while (wait_check()) {
		char want[P];
		for (size_t i = 0; i < 256; i++) {
			int f = faults(area + i * P);
			CHECK(!!f == guarded(i), "page %zu %s", i, f ? "faults" : "is no guard any more");
			memset(want, 0, P);
			for (size_t b = 0; i < 200 && b < P; b++) /* what fill() put there */
				want[b] = (char)(h_word(1, (i * P + b) / 8) >> (i * P + b) % 8 * 8);
			CHECK(f || !memcmp(area + i * P, want, P), "page %zu has another content", i);
		}
		CHECK(!madvise(area, P, REMOVE) && !faults(area) && !madvise(area, P, INSTALL) && faults(area), "removing and installing a guard: %s", strerror(errno));
	}
	return 0;
}
