/*
 * State: what tasks share beyond the usual: threads with a descriptor table of their own, with their own cwd and umask
 * (unshare in a thread), processes that share the memory (CLONE_VM), descriptors (CLONE_FILES) or signal handlers
 * (CLONE_SIGHAND) and nothing else, and a process that shares I/O context and System V undo lists.
 * Wrong could go: tables joined or split: each task's number 300 is another file; a write to shared memory that does not
 * show in the other process; handlers set in one that the other does not have.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static char base[64], stacks[2][65536] __attribute__((aligned(16)));
static volatile int asked, answered[4], vm_answer, made;
static volatile pid_t vm_pid;

static int file(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", base, name);
	return MUST(open(path, O_RDWR | O_CREAT | O_APPEND, 0600));
}
/* is tells whether descriptor 300 of the calling task is the file of that name */
static int is(const char *name)
{
	char link[200] = "", path[128], proc[64];
	snprintf(proc, sizeof proc, "/proc/self/task/%ld/fd/300", syscall(SYS_gettid));
	snprintf(path, sizeof path, "%s/%s", base, name);
	return readlink(proc, link, sizeof link - 1) > 0 && !strcmp(link, path);
}
static void *own_files(void *arg)
{
	int i = (int)(intptr_t)arg;
	char name[16], cwd[128], want[128];
	MUST(unshare(i ? CLONE_FILES | CLONE_FS : CLONE_FILES));
	snprintf(name, sizeof name, "thread%d", i);
	MUST(dup2(file(name), 300));
	if (i) {
		snprintf(want, sizeof want, "%s/dir%d", base, i);
		MUST(mkdir(want, 0700)), MUST(chdir(want));
		umask((mode_t)(010 * i));
	}
	for (made++;; h_sleep(2 * MS)) {
		if (answered[i] == asked)
			continue;
		CHECK(is(name), "thread %d: its descriptor 300 is another file", i);
		CHECK(fcntl(301, F_GETFD) < 0 && errno == EBADF, "thread %d has a descriptor of the main thread", i);
		if (i) {
			CHECK(syscall(SYS_getcwd, cwd, sizeof cwd) > 0 && !strcmp(cwd, want), "thread %d: its cwd is %s", i, cwd);
			mode_t m = umask(0);
			umask(m);
			CHECK(m == (mode_t)(010 * i), "thread %d: its umask is %o", i, m);
		}
		answered[i] = asked;
	}
	return NULL;
}
static void handler(int s) { (void)s; }
static int same_memory(void *arg) /* CLONE_VM|CLONE_SIGHAND: raw calls only, the thread-local data is the parent's */
{
	(void)arg;
	vm_pid = (pid_t)syscall(SYS_getpid);
	struct timespec t = {0, 2 * MS};
	for (made++;; syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &t, NULL))
		vm_answer = asked;
	return 0;
}
static int same_files(void *arg) /* CLONE_FILES: opens 310 whenever 309 is there, closes it otherwise */
{
	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; h_sleep(2 * MS))
		if (fcntl(309, F_GETFD) >= 0)
			dup2(309, 310);
		else
			close(310);
	return 0;
}

int main(void)
{
	pthread_t t;
	h_init();
	snprintf(base, sizeof base, "/tmp/sharing.%d", getpid());
	MUST(mkdir(base, 0755));
	for (int i = 0; i < 3; i++)
		if (pthread_create(&t, NULL, own_files, (void *)(intptr_t)i) || !WAIT_FOR(made == i + 1))
			DIE("thread %d", i);
	MUST(dup2(file("main"), 300)), MUST(dup2(300, 301));
	pid_t vm = MUST(clone(same_memory, stacks[0] + sizeof stacks[0], CLONE_VM | CLONE_SIGHAND | SIGCHLD, NULL));
	pid_t files = MUST(clone(same_files, stacks[1] + sizeof stacks[1], CLONE_FILES | CLONE_IO | CLONE_SYSVSEM | SIGCHLD, NULL));
	if (!WAIT_FOR(made == 4))
		DIE("the process that shares the memory");
	char cwd[128], now[128];
	MUST(syscall(SYS_getcwd, cwd, sizeof cwd));
	umask(022);
	ready();
	while (wait_check()) {
		asked++;
		for (int i = 0; i < 3; i++)
			CHECK(WAIT_FOR(answered[i] == asked), "thread %d does not answer", i);
		CHECK(is("main") && fcntl(301, F_GETFD) >= 0, "the main thread's descriptor 300 is another file");
		CHECK(syscall(SYS_getcwd, now, sizeof now) > 0 && !strcmp(cwd, now) && umask(022) == 022, "the main thread's cwd is %s", now);
		CHECK(WAIT_FOR(vm_answer == asked) && vm_pid == vm, "the process that shares the memory does not see it");
		char path[64], cgt[64];
		struct sigaction sa = {.sa_handler = h.check % 2 ? handler : SIG_DFL};
		sigaction(SIGPROF, &sa, NULL);
		snprintf(path, sizeof path, "/proc/%d/status", vm);
		CHECK(h_field(path, "SigCgt", cgt, sizeof cgt) && !!(strtoull(cgt, NULL, 16) & 1ULL << (SIGPROF - 1)) == h.check % 2, "a handler set here does not show in the process that shares them: %s", cgt);
		CHECK(dup2(300, 309) == 309 && WAIT_FOR(fcntl(310, F_GETFD) >= 0), "a descriptor opened by the process that shares the table does not show");
		CHECK(!close(309) && WAIT_FOR(fcntl(310, F_GETFD) < 0), "a descriptor closed there is open here");
		int st;
		CHECK(waitpid(-1, &st, WNOHANG) == 0, "a process has ended: %x", st);
	}
	kill(vm, SIGKILL), kill(files, SIGKILL);
	snprintf(now, sizeof now, "rm -rf %s", base);
	return getenv("STATE_DIR") && system(now) ? 1 : 0;
}
