/*
 * manyprocesses: very many processes (argv[1], 16 unless said), children of the first, which sleep.
 *
 * Each has memory of its own that it shares with its parent but for a page, and its number. A check has each of them look.
 */
#include <linux/futex.h>
#include <sys/wait.h>
#include "harness.h"

#define PAGES 32

static struct { int generation, answered, wrong; } *shared;
static uint8_t *memory;

static void child(int self)
{
	int pid = (int)syscall(SYS_getpid), parent = (int)syscall(SYS_getppid), had = shared->generation;
	fill(memory + 4096 * (self % PAGES), 4096, 1000 + (uint64_t)self);
	__atomic_add_fetch(&shared->answered, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&shared->generation, __ATOMIC_SEQ_CST) == had)
			syscall(SYS_futex, &shared->generation, FUTEX_WAIT, had, NULL, NULL, 0);
		had = __atomic_load_n(&shared->generation, __ATOMIC_SEQ_CST);
		int right = pid == (int)syscall(SYS_getpid) && parent == (int)syscall(SYS_getppid);
		for (int i = 0; i < PAGES; i++)
			right &= verify(memory + 4096 * i, 4096, (uint64_t)(i == self % PAGES ? 1000 + self : i)) < 0;
		if (!right)
			__atomic_add_fetch(&shared->wrong, 1, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&shared->answered, 1, __ATOMIC_SEQ_CST);
	}
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 16;
	h_init();
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || memory == MAP_FAILED)
		DIE("mmap");
	for (int i = 0; i < PAGES; i++)
		fill(memory + 4096 * i, 4096, (uint64_t)i);
	for (int i = 0; i < count; i++)
		if (MUST(fork()) == 0)
			child(i);
	while (__atomic_load_n(&shared->answered, __ATOMIC_SEQ_CST) < count)
		h_sleep(MS);
	ready();
	while (wait_check()) {
		shared->answered = 0;
		__atomic_add_fetch(&shared->generation, 1, __ATOMIC_SEQ_CST);
		syscall(SYS_futex, &shared->generation, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
		CHECK(WAIT_FOR(__atomic_load_n(&shared->answered, __ATOMIC_SEQ_CST) == count), "%d of %d children answer", shared->answered, count);
		CHECK(!shared->wrong, "%d children are not what they were", shared->wrong);
		for (int i = 0; i < PAGES; i++)
			CHECK(verify(memory + 4096 * i, 4096, (uint64_t)i) < 0, "page %d of the parent", i);
	}
	return 0;
}
