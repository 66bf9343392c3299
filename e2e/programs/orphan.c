/*
 * State: daemons by double fork: their session leader is dead and reaped, their parent is init (or the subreaper);
 * one that leads its own group in the dead leader's session, one that is a session leader itself, a whole subtree.
 * Wrong could go: the session of a leader that exists no more (must be made by a stand-in that dies), reparenting to
 * the wrong task, a pid that the dead leader's number was given to.
 */
#include "harness.h"
#include <sys/prctl.h>
#include <sys/wait.h>

static const char *const names[] = {"daemon", "group", "leader", "subtree", "leaf", "second"};
enum { N = sizeof names / sizeof *names };
static struct id { pid_t pid, ppid, sid, pgid; } *ids; /* shared; each keeps a copy */

static void stay(int n, pid_t reaper)
{
	if (reaper)
		WAIT_FOR(getppid() == reaper);
	ids[n] = (struct id){getpid(), getppid(), getsid(0), getpgrp()};
	struct id me = ids[n];
	fclose(stdin);
	h_part(names[n]);
	while (wait_check()) {
		CHECK(getpid() == me.pid && getppid() == me.ppid, "pid %d parent %d, were %d %d", getpid(), getppid(), me.pid, me.ppid);
		CHECK(getsid(0) == me.sid && getpgrp() == me.pgid, "session %d group %d, were %d %d", getsid(0), getpgrp(), me.sid, me.pgid);
		CHECK(me.sid == getpid() || (kill(me.sid, 0) < 0 && errno == ESRCH), "the dead session leader %d lives", me.sid);
	}
	_exit(n);
}

int main(void)
{
	h_init();
	pid_t reaper = getpid();
	if (reaper != 1)
		MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	ids = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	pid_t first = MUST(fork());
	if (!first) {
		setsid();
		if (!fork())
			stay(0, reaper);
		if (!fork()) {
			setpgid(0, 0);
			stay(1, reaper);
		}
		if (!fork()) {
			setsid();
			stay(2, reaper);
		}
		if (!fork()) {
			if (!fork())
				stay(4, 0);
			stay(3, reaper);
		}
		h_sleep(50 * MS);
		_exit(0);
	}
	pid_t other = MUST(fork());
	if (!other) { /* another session, no leader, one member two generations on */
		setsid();
		if (!fork()) {
			if (!fork())
				stay(5, reaper);
			h_sleep(30 * MS);
			_exit(0);
		}
		h_sleep(60 * MS);
		_exit(0);
	}
	MUST(waitpid(first, NULL, 0));
	MUST(waitpid(other, NULL, 0));
	int up = 0;
	for (int tries = 0; up < N && tries < 5000; tries++, h_sleep(MS)) {
		waitpid(-1, NULL, WNOHANG); /* the middle generation of the second session */
		for (up = 0; up < N && ids[up].pid; up++)
			;
	}
	if (up < N)
		DIE("daemon %s does not come up", names[up]);
	h_sleep(50 * MS);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	ready();

	while (wait_check()) {
		for (int n = 0; n < N; n++)
			h_collect(names[n]);
		CHECK(ids[0].sid == first && ids[5].sid == other, "the record in shared memory");
		CHECK(getsid(ids[0].pid) == first && getsid(ids[1].pid) == first && getsid(ids[3].pid) == first && getsid(ids[4].pid) == first, "session of the daemons");
		CHECK(getpgid(ids[1].pid) == ids[1].pid && getpgid(ids[0].pid) == first && getsid(ids[5].pid) == other, "groups of the daemons");
		int st;
		CHECK(waitpid(-1, &st, WNOHANG) == 0, "a child of ours ended, or there is none");
		CHECK(waitpid(ids[4].pid, &st, WNOHANG) < 0 && errno == ECHILD, "the grandchild became our child");
	}
	int left = 0, st;
	while (waitpid(-1, &st, 0) > 0)
		left++;
	return left == N - 1 || left == N ? 0 : 7;
}
