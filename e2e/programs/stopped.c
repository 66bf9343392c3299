/*
 * State: stopped children: by SIGSTOP, SIGTSTP and SIGTTIN, reported to wait and not yet reported, one with threads,
 * one with signals pending, one continued whose CLD_CONTINUED is not yet reported.
 * Wrong could go: the task runs after restore, or stays stopped for ever; WUNTRACED reports lost or doubled, the
 * signal that stopped it; pending signals that were delivered in between.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static struct kid {
	pid_t pid;
	int sig, reported, threads;
	volatile int *beat; /* counted up while it runs */
} kids[] = {{0, SIGSTOP, 1, 0, 0}, {0, SIGTSTP, 0, 0, 0}, {0, SIGTTIN, 1, 0, 0}, {0, SIGSTOP, 0, 3, 0}};
enum { N = sizeof kids / sizeof *kids };
static volatile int *beats, *usr1;
static pid_t continued;

static void on_usr1(int s) { (void)s, (*usr1)++; }
static void *beat(void *arg)
{
	for (;; h_sleep(MS))
		__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	return NULL;
}
static char state_of(pid_t p)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	return (char)h_stat(path, 3);
}
static void stop(struct kid *k)
{
	siginfo_t i;
	kill(k->pid, k->sig);
	CHECK(WAIT_FOR(state_of(k->pid) == 'T'), "the kid does not stop");
	if (k->reported)
		CHECK(!waitid(P_PID, (id_t)k->pid, &i, WSTOPPED | WNOHANG) && i.si_pid == k->pid, "stop is not reported");
}
static void cont(void) /* leaves a CLD_CONTINUED that nobody has waited for */
{
	siginfo_t i;
	kill(continued, SIGSTOP);
	CHECK(!waitid(P_PID, (id_t)continued, &i, WSTOPPED), "waitid: %s", strerror(errno));
	kill(continued, SIGCONT);
	CHECK(WAIT_FOR(state_of(continued) == 'S'), "the continued one is in state %c", state_of(continued));
}

int main(void)
{
	h_init();
	beats = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	usr1 = beats + 100;
	for (int n = 0; n < N; n++) {
		kids[n].beat = &beats[n];
		if (!(kids[n].pid = MUST(fork()))) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			setpgid(0, 0); /* TSTP does nothing in an orphaned group; ours is not its parent's */
			signal(SIGUSR1, on_usr1);
			pthread_t t;
			for (int i = 0; i < kids[n].threads; i++)
				pthread_create(&t, NULL, beat, (void *)&beats[10 + i]);
			beat((void *)&beats[n]);
		}
	}
	if (!(continued = MUST(fork()))) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	/* All have got as far as to have their handlers. */
	WAIT_FOR(beats[0] && beats[1] && beats[2] && beats[3] && beats[10] && beats[11] && beats[12] && state_of(continued) == 'S');
	for (int n = 0; n < N; n++)
		stop(&kids[n]);
	kill(kids[0].pid, SIGUSR1); /* pending in the stopped one */
	cont();
	ready();

	int was[16], got = 0;
	memcpy(was, (void *)beats, sizeof was);
	while (wait_check()) {
		h_sleep(50 * MS);
		for (int n = 0; n < 16; n++)
			CHECK(was[n] == beats[n], "a stopped task ran (counter %d)", n);
		CHECK(*usr1 == got, "the pending signal was delivered to the stopped task");
		for (int n = 0; n < N; n++) {
			struct kid *k = &kids[n];
			siginfo_t i = {0};
			CHECK(state_of(k->pid) == 'T', "kid %d is in state %c", n, state_of(k->pid));
			CHECK(!waitid(P_PID, (id_t)k->pid, &i, WSTOPPED | WNOHANG), "waitid: %s", strerror(errno));
			CHECK(k->reported || (i.si_pid == k->pid && i.si_code == CLD_STOPPED && i.si_status == k->sig), "kid %d: the unreported stop is lost (pid %d status %d)", n, i.si_pid, i.si_status);
			CHECK(!k->reported || i.si_pid == 0, "kid %d: the stop is reported again", n);
			kill(k->pid, SIGCONT);
			CHECK(WAIT_FOR(state_of(k->pid) != 'T' && *k->beat != was[n]), "kid %d does not go on", n);
			CHECK(n != 3 || WAIT_FOR(beats[10] != was[10] && beats[12] != was[12]), "its threads do not go on");
		}
		CHECK(WAIT_FOR(*usr1 == got + 1), "the signal pending in the stopped task is lost");
		siginfo_t i = {0};
		CHECK(!waitid(P_PID, (id_t)continued, &i, WCONTINUED | WNOHANG) && i.si_pid == continued && i.si_code == CLD_CONTINUED, "the continuation is no longer reported");
		memset(&i, 0, sizeof i);
		CHECK(!waitid(P_PID, (id_t)continued, &i, WCONTINUED | WSTOPPED | WNOHANG) && i.si_pid == 0, "the continuation is reported twice");
		got = *usr1;
		for (int n = 0; n < N; n++)
			stop(&kids[n]);
		kill(kids[0].pid, SIGUSR1);
		cont();
		memcpy(was, (void *)beats, sizeof was);
	}
	for (int n = 0; n < N; n++)
		kill(kids[n].pid, SIGKILL);
	return 0;
}
