/*
 * changing: memory (argv[1] MiB, 8 unless said) that several threads write to all the while.
 *
 * Each page holds a number, the words that follow from it, and their sum. A writer takes its pages in turn, and is
 * stopped wherever it happens to be: after a restore it must go on with the same half-written page. A check has the writers pause
 * between two pages, and looks at all of them.
 */
#include <pthread.h>
#include "harness.h"

#define PAGE 4096
#define WORDS (PAGE / 8)
#define WRITERS 4

static uint64_t *memory;
static size_t pages = 8 << 8;
static volatile int hold, holding;
static volatile long written[WRITERS];

static void put(uint64_t *page, size_t at, uint64_t number)
{
	uint64_t sum = 0;
	page[0] = number;
	for (int i = 1; i < WORDS - 1; i++) {
		uint64_t word = h_word(at, number + (uint64_t)i);
		page[i] = word;
		sum += word;
	}
	page[WORDS - 1] = sum;
}

static void look(uint64_t *page, size_t at)
{
	uint64_t sum = 0, number = page[0];
	for (int i = 1; i < WORDS - 1; i++) {
		if (page[i] != h_word(at, number + (uint64_t)i))
			return h_fail("page %zu: word %d does not belong to number %lu", at, i, (unsigned long)number);
		sum += page[i];
	}
	CHECK(page[WORDS - 1] == sum, "page %zu: the sum is wrong", at);
}

static void *writer(void *arg)
{
	size_t self = (size_t)arg;
	for (uint64_t number = 1;; number++)
		for (size_t at = self; at < pages; at += WRITERS) {
			if (hold) {
				__atomic_add_fetch(&holding, 1, __ATOMIC_SEQ_CST);
				while (hold)
					h_sleep(MS);
				__atomic_sub_fetch(&holding, 1, __ATOMIC_SEQ_CST);
			}
			put(memory + at * WORDS, at, number);
			written[self]++;
		}
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		pages = (size_t)atoi(argv[1]) << 8;
	h_init();
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		DIE("mmap");
	for (size_t at = 0; at < pages; at++)
		put(memory + at * WORDS, at, 0);
	for (size_t i = 0; i < WRITERS; i++) {
		pthread_t thread;
		if (pthread_create(&thread, NULL, writer, (void *)i))
			DIE("pthread_create");
	}
	ready();
	while (wait_check()) {
		hold = 1;
		CHECK(WAIT_FOR(holding == WRITERS), "%d of %d writers pause", holding, WRITERS);
		for (size_t at = 0; at < pages; at++)
			look(memory + at * WORDS, at);
		long before[WRITERS];
		memcpy(before, (void *)written, sizeof before);
		hold = 0;
		CHECK(WAIT_FOR(holding == 0), "%d writers still pause", holding);
		for (int i = 0; i < WRITERS; i++)
			CHECK(WAIT_FOR(written[i] > before[i]), "writer %d stands still", i);
	}
	return 0;
}
