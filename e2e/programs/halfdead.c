/*
 * State: processes whose first thread has ended while others live on (pthread_exit in main). The first is a zombie that cannot
 * be waited for; what the process has (memory, descriptors, children, a timer) is there by its other threads alone.
 * Wrong could go: it is taken for a zombie, and the living threads are lost; the first thread lives again, or takes the
 * others with it; its exit status; children hear of its second death.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { LEADER_STATUS = 3, SIG = SIGALRM };
static char state_of(const char *fmt, pid_t p)
{
	char path[64], text[512] = "";
	snprintf(path, sizeof path, fmt, p, p);
	h_slurp(path, text, sizeof text);
	char *end = strrchr(text, ')');
	return end ? end[2] : '?';
}
#define LEADER "/proc/%d/task/%d/stat"
static int file, threads_seen;
static volatile int alarms, deaths;
static pid_t grandchild;
static pthread_t other;
static void on_alarm(int s) { (void)s; alarms++; }
static void on_death(int s) { (void)s; deaths++; }

static void *second(void *arg)
{
	(void)arg;
	for (;; h_sleep(10 * MS))
		__atomic_add_fetch(&threads_seen, 1, __ATOMIC_SEQ_CST);
	return NULL;
}
static void *survivor(void *arg)
{
	pid_t me = getpid();
	(void)arg;
	WAIT_FOR(state_of(LEADER, me) == 'Z');
	h_part("half");
	file = open("/proc/self/task", O_RDONLY | O_DIRECTORY);
	int data = open("/tmp/halfdead", O_RDWR | O_CREAT | O_EXCL, 0600);
	if (file < 0 || data < 0 || unlink("/tmp/halfdead") || pthread_create(&other, NULL, second, NULL))
		_exit(1);
	if (write(data, "half", 4) != 4 || prctl(PR_SET_NAME, "alive"))
		_exit(1);
	struct sigaction on = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	sigaction(SIG, &on, NULL);
	if (!(grandchild = fork())) {
		on.sa_handler = on_death;
		sigaction(SIG, &on, NULL);
		prctl(PR_SET_PDEATHSIG, SIG);
		h_part("grandchild");
		while (wait_check())
			CHECK(getppid() == me && !deaths, "the grandchild's parent is %d, not %d; it heard of %d deaths", getppid(), me, deaths);
		_exit(0);
	}
	while (wait_check()) {
		char name[32] = "", text[8] = "";
		CHECK(state_of(LEADER, me) == 'Z' && syscall(SYS_gettid) != me, "the dead leader is in state %c", state_of(LEADER, me));
		prctl(PR_GET_NAME, name);
		CHECK(!strcmp(name, "alive"), "the thread's name is %s", name);
		h_slurp("/proc/self/comm", name, sizeof name);
		CHECK(!strcmp(name, "departed\n"), "the leader's name is %s", name);
		CHECK(pread(data, text, 5, 0) == 4 && !strcmp(text, "half"), "the deleted file has %s", text);
		int seen = threads_seen;
		CHECK(WAIT_FOR(__atomic_load_n(&threads_seen, __ATOMIC_SEQ_CST) > seen), "the other thread stands still");
		CHECK(waitpid(grandchild, NULL, WNOHANG) == 0, "the grandchild is gone");
		int before = alarms;
		struct itimerval soon = {.it_value.tv_usec = 5000};
		CHECK(!setitimer(ITIMER_REAL, &soon, NULL) && WAIT_FOR(alarms == before + 1), "the timer does not come");
		h_collect("grandchild");
	}
	_exit(0);
}
static int go[2];
static void *mortal(void *arg)
{
	char c;
	while (read(go[0], &c, 1) < 0)
		;
	syscall(SYS_exit, 77); /* the last thread: its status counts since Linux 5.17, the leader's before */
	return arg;
}
static pid_t start(void *(*body)(void *), const char *name)
{
	pid_t p = fork();
	if (p)
		return p;
	pthread_t t;
	prctl(PR_SET_NAME, name);
	if (pthread_create(&t, NULL, body, NULL))
		_exit(1);
	syscall(SYS_exit, LEADER_STATUS); /* this thread alone */
	return 0;
}

int main(void)
{
	int st, want = -1;
	h_init();
	MUST(pipe(go));
	pid_t half = MUST(start(survivor, "departed")), dying = MUST(start(mortal, "dying"));
	if (!WAIT_FOR(state_of(LEADER, half) == 'Z' && state_of(LEADER, dying) == 'Z'))
		DIE("leaders that end");
	if (write(go[1], "x", 1) != 1 || waitpid(dying, &want, 0) != dying || !WIFEXITED(want))
		DIE("a process that ends: %x", want);
	dying = MUST(start(mortal, "dying"));
	if (!WAIT_FOR(state_of(LEADER, dying) == 'Z'))
		DIE("a leader that ends");
	ready();
	while (wait_check()) {
		h_collect("half");
		CHECK(waitpid(half, &st, WNOHANG) == 0, "the group whose leader is dead counts as dead: %x", st);
		CHECK(state_of(LEADER, dying) == 'Z' && waitpid(dying, &st, WNOHANG) == 0, "the other counts as dead: %x", st);
		CHECK(write(go[1], "x", 1) == 1 && WAIT_FOR(waitpid(dying, &st, WNOHANG) == dying) && st == want, "it ends with status %x, not %x", st, want);
		dying = start(mortal, "dying");
		CHECK(WAIT_FOR(state_of(LEADER, dying) == 'Z'), "a new leader does not end");
	}
	kill(half, SIGKILL), kill(dying, SIGKILL);
	return 0;
}
