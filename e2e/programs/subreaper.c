/*
 * State: a child subreaper below init with adopted orphans; its child that inherits nothing of it; an orphan that
 * went to it past a dead parent.
 * Wrong could go: the attribute lost (the next orphan then goes to init), PR_GET_CHILD_SUBREAPER of the wrong task,
 * orphans adopted by init at restore.
 */
#include "harness.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static volatile pid_t *box; /* 0: the adopted orphan, 1: the newest one, 2: the subreaper */

static void orphan(int slot, int forever)
{
	pid_t mid = fork();
	if (!mid) {
		if (!fork()) {
			WAIT_FOR(getppid() == box[2]);
			box[slot] = getpid();
			if (forever)
				h_part("orphan");
			while (forever && wait_check())
				CHECK(getppid() == box[2], "the orphan's parent is %d, not the subreaper %d", getppid(), box[2]);
			_exit(33);
		}
		_exit(0);
	}
	waitpid(mid, NULL, 0);
}
static int attribute(void)
{
	int v = -1;
	prctl(PR_GET_CHILD_SUBREAPER, &v);
	return v;
}

int main(void)
{
	h_init();
	box = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	if (!MUST(fork())) {
		box[2] = getpid();
		MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
		orphan(0, 1);
		if (!fork()) {
			h_part("plain");
			while (wait_check())
				CHECK(attribute() == 0, "the subreaper's child became one");
			_exit(0);
		}
		h_part("reaper");
		while (wait_check()) {
			int st = 0;
			CHECK(attribute() == 1, "the attribute is %d", attribute());
			box[1] = 0;
			orphan(1, 0);
			CHECK(WAIT_FOR(box[1]) && waitpid(box[1], &st, 0) == box[1] && WEXITSTATUS(st) == 33, "a new orphan does not come to the subreaper");
		}
		while (waitpid(-1, NULL, 0) > 0)
			;
		_exit(0);
	}
	if (!WAIT_FOR(box[0]))
		DIE("the orphan does not come up");
	ready();
	while (wait_check()) {
		h_collect("reaper");
		h_collect("orphan");
		h_collect("plain");
		CHECK(attribute() == 0, "the main task became a subreaper");
	}
	waitpid(box[2], NULL, 0);
	return 0;
}
