/*
 * State: a process whose first thread has ended while another lives on (pthread_exit in main). It is a zombie that cannot
 * be waited for. It cannot be saved yet and must be refused by name.
 * Wrong could go: it is taken for a zombie, and the living thread is lost.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/wait.h>

static char state_of(pid_t p)
{
	char path[64], text[512] = "";
	snprintf(path, sizeof path, "/proc/%d/stat", p);
	h_slurp(path, text, sizeof text);
	char *end = strrchr(text, ')');
	return end ? end[2] : '?';
}
static void *survivor(void *arg)
{
	(void)arg;
	h_sleep(50 * MS);
	h_part("half");
	while (wait_check())
		CHECK(state_of(getpid()) == 'Z' && syscall(SYS_gettid) != getpid(), "the dead leader is in state %c", state_of(getpid()));
	_exit(0);
}

int main(void)
{
	pid_t half;
	int st;
	h_init();
	if (!(half = MUST(fork()))) {
		pthread_t t;
		if (pthread_create(&t, NULL, survivor, NULL))
			_exit(1);
		syscall(SYS_exit, 3); /* this thread alone */
	}
	WAIT_FOR(state_of(half) == 'Z');
	ready();
	while (wait_check()) {
		h_collect("half");
		CHECK(waitpid(half, &st, WNOHANG) == 0, "the group whose leader is dead counts as dead: %x", st);
	}
	return 0;
}
