/*
 * State: zombies of every kind: exit codes, killed by a signal, a child of a child, one that was adopted, a thread
 * group whose leader exited while another thread lives, a zombie that leads a group and a session.
 * Wrong could go: the status or the pid of the zombie, wait4 that finds none or too many, resource usage aside; the
 * zombie leader's session lost; the order of exit; SIGCHLD sent once more.
 */
#include "harness.h"
#include <sys/prctl.h>
#include <sys/wait.h>

enum { CODES = 5 };
static pid_t z[CODES], killed, leader, member, adopted, middle;
static int sigchld;

static void on_chld(int s) { (void)s, __atomic_add_fetch(&sigchld, 1, __ATOMIC_SEQ_CST); }
static char state_of(pid_t p)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	return (char)h_stat(path, 3);
}
static unsigned long long stat_of(pid_t p, int n)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	return h_stat(path, n);
}
static void make(int i)
{
	if (!(z[i] = MUST(fork()))) {
		char name[16];
		snprintf(name, sizeof name, "zombie %d)(", i); /* a name that spoils naive parsers of stat */
		prctl(PR_SET_NAME, name);
		_exit(i * 50 + 5);
	}
}
static void make_killed(void)
{
	if (!(killed = MUST(fork()))) {
		if (getpid() == 1)
			_exit(0);
		kill(getpid(), SIGKILL);
		pause();
	}
}
static int is_zombie(pid_t p) { return WAIT_FOR(state_of(p) == 'Z'); }

int main(void)
{
	int fds[2];
	h_init();
	MUST(pipe(fds));
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1)); /* so that it is the same outside a container */
	for (int i = 0; i < CODES; i++)
		make(i);
	make_killed();
	if (!(leader = MUST(fork()))) { /* a session and group led by a zombie, with a living member */
		MUST(setsid());
		if (!MUST(fork())) {
			pid_t self = getpid();
			MUST(write(fds[1], &self, sizeof self));
			WAIT_FOR(getppid() != leader && state_of(getsid(0)) == 'Z');
			h_part("member");
			pid_t sid = getsid(0), group = getpgrp();
			while (wait_check())
				CHECK(getsid(0) == sid && getpgrp() == group && state_of(sid) == 'Z', "session %d, group %d", getsid(0), getpgrp());
			_exit(0);
		}
		_exit(0);
	}
	MUST(read(fds[0], &member, sizeof member));
	if (!MUST(fork())) { /* the zombie of a living child, and one adopted by us since its parent died */
		pid_t p[2];
		if (!(p[0] = MUST(fork()))) {
			if (!(p[1] = fork()))
				_exit(99);
			MUST(write(fds[1], &p[1], sizeof p[1]));
			_exit(98);
		}
		waitpid(p[0], NULL, 0);
		p[0] = MUST(fork());
		if (!p[0])
			_exit(97);
		p[1] = getpid();
		MUST(write(fds[1], &p[1], sizeof p[1]));
		h_part("middle");
		while (wait_check()) {
			siginfo_t i = {0};
			CHECK(!waitid(P_PID, (id_t)p[0], &i, WEXITED | WNOHANG | WNOWAIT) && i.si_pid == p[0] && i.si_status == 97, "zombie of the child");
		}
		_exit(0);
	}
	MUST(read(fds[0], &adopted, sizeof adopted));
	MUST(read(fds[0], &middle, sizeof middle));
	for (int i = 0; i < CODES; i++)
		is_zombie(z[i]);
	if (!is_zombie(killed) || !is_zombie(leader) || !is_zombie(adopted))
		DIE("zombies do not come up");
	signal(SIGCHLD, on_chld);
	h.eintr_ok = 1;
	ready();

	while (wait_check()) {
		h_collect("member");
		h_collect("middle");
		siginfo_t i;
		int st;
		CHECK(sigchld == 0, "SIGCHLD came %d times for children that had died before", sigchld);
		for (int n = 0; n < CODES; n++) {
			char path[64], comm[32] = "", want[32];
			snprintf(path, sizeof path, "/proc/%d/comm", z[n]);
			h_slurp(path, comm, sizeof comm);
			snprintf(want, sizeof want, "zombie %d)(\n", n);
			CHECK(!strcmp(comm, want), "the zombie's name is %s", comm);
			CHECK(state_of(z[n]) == 'Z' && stat_of(z[n], 4) == (unsigned)getpid() && stat_of(z[n], 5) == (unsigned)getpgrp(), "zombie %d in /proc", n);
			memset(&i, 0, sizeof i);
			CHECK(!waitid(P_PID, (id_t)z[n], &i, WEXITED | WNOHANG | WNOWAIT), "waitid: %s", strerror(errno));
			CHECK(i.si_pid == z[n] && i.si_code == CLD_EXITED && i.si_status == n * 50 + 5, "zombie %d: code %d status %d", n, i.si_code, i.si_status);
		}
		CHECK(state_of(leader) == 'Z' && (pid_t)stat_of(leader, 5) == leader && (pid_t)stat_of(leader, 6) == leader && getsid(member) == leader, "the zombie session leader");
		CHECK(!waitid(P_PID, (id_t)adopted, &i, WEXITED | WNOHANG | WNOWAIT) && i.si_pid == adopted && i.si_status == 99, "the adopted zombie");
		CHECK(waitpid(killed, &st, WNOHANG) == killed && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "the killed one: %x", st);
		CHECK(waitpid(z[2], &st, WNOHANG) == z[2] && WIFEXITED(st) && WEXITSTATUS(st) == 105, "zombie 2 reaped: %x", st);
		CHECK(waitpid(z[2], &st, WNOHANG) < 0 && errno == ECHILD, "a zombie reaped twice");
		signal(SIGCHLD, SIG_DFL);
		make(2), make_killed();
		CHECK(is_zombie(z[2]) && is_zombie(killed), "new zombies");
		signal(SIGCHLD, on_chld);
	}
	return 0;
}
