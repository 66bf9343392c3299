/* A ring of processes that hand numbers on: what is written to ring[0][1] comes out of ring[3][0], higher by three. */
#ifndef RING_H
#define RING_H
#include "harness.h"

static int ring[4][2];

/* fork_ring makes a chain of children, each the next one's parent. One that an interrupted call ends exits with 5. */
static void fork_ring(void)
{
	for (int i = 0; i < 4; i++)
		MUST(pipe(ring[i]));
	for (int k = 0; k < 3; k++) {
		pid_t kid = MUST(fork());
		if (kid && k == 0)
			break;
		if (kid || k == 2) {
			int me = kid ? k - 1 : k;
			for (int i = 0; i < 4; i++) { /* reads from its own pipe, writes to the next */
				if (i != me)
					close(ring[i][0]);
				if (i != me + 1)
					close(ring[i][1]);
			}
			for (uint64_t v; read(ring[me][0], &v, 8) == 8;)
				if (v++, write(ring[me + 1][1], &v, 8) != 8)
					break;
			_exit(errno == EINTR ? 5 : 0);
		}
	}
	close(ring[0][0]), close(ring[3][1]);
}
#endif
