/*
 * State: 14 processes: children, grandchildren, sessions and process groups led by others and by themselves, groups
 * whose leader is dead, a child made by another thread, and a shared fd table and filesystem information (CLONE_FILES,
 * CLONE_FS).
 * Wrong could go: parents, sessions or groups of the wrong task, a pid that changed, exit status that does not arrive,
 * memory of one process in another.
 */
#include "harness.h"
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { MAXP = 20 };
struct shape { /* the tree: who forks whom, and what the new one does before its own children come */
	const char *name;
	int parent, setsid, group; /* group: -1 keep, 0 own, n of node n */
	int dies;                  /* as soon as its children are there */
};
static const struct shape shape[] = {
	{"root", -1, 0, -1, 0},	     {"leader", 0, 1, -1, 0},	  {"kid", 1, 0, -1, 0},	       {"owngroup", 1, 0, 0, 0},
	{"joined", 1, 0, 3, 0},	     {"deadgroup", 0, 0, 0, 0},	  {"deadleader", 5, 0, 0, 1},  {"leaderless", 6, 0, -1, 0},
	{"grand", 2, 0, 3, 0},	     {"othersession", 2, 1, -1, 0}, {"greatgrand", 8, 0, 0, 0}, {"bg", 9, 0, 0, 0},
	{"fg", 9, 0, -1, 0},	     {"plain", 0, 0, -1, 0},
};
#define N ((int)(sizeof shape / sizeof *shape))
static struct node {
	pid_t pid, ppid, sid, pgid;
	volatile int alive;
	char data[5000];
} *nodes; /* shared while building, private copies after */
static int self;
static char data[5000];

static void grow(int me)
{
	self = me;
	struct node *n = &nodes[me];
	n->pid = getpid();
	if (shape[me].setsid)
		MUST(setsid());
	if (shape[me].group >= 0)
		MUST(setpgid(0, shape[me].group ? nodes[shape[me].group].pid : 0));
	n->sid = getsid(0), n->pgid = getpgrp(), n->ppid = getppid();
	fill(data, sizeof data, 500 + (uint64_t)me);
	prctl(PR_SET_NAME, shape[me].name);
	__atomic_store_n(&n->alive, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < N; i++) { /* the others' turn comes in the table's order */
		if (shape[i].parent == me) {
			if (!WAIT_FOR(nodes[i - 1].alive))
				DIE("node %d did not come up", i - 1);
			if (!MUST(fork())) {
				grow(i);
				return;
			}
			if (!WAIT_FOR(nodes[i].alive))
				DIE("node %d did not come up", i);
		}
	}
	if (shape[me].dies)
		_exit(17);
	for (int i = 0; i < N; i++)
		if (shape[i].dies && shape[i].parent == me) {
			int st;
			MUST(waitpid(nodes[i].pid, &st, 0));
			nodes[i].alive = 2;
		}
	WAIT_FOR(nodes[N - 1].alive && nodes[6].alive == 2);
	for (int i = 0; i < N; i++) /* children of the dead have a new parent */
		if (i == me && shape[i].parent >= 0 && shape[shape[i].parent].dies)
			n->ppid = getppid();
	if (me) {
		h_sleep(100 * MS);
		struct node *copy = malloc(sizeof *nodes * N);
		memcpy(copy, nodes, sizeof *nodes * N);
		munmap(nodes, sizeof *nodes * MAXP);
		nodes = copy;
		h_part(shape[me].name);
	}
}
static void look(void)
{
	struct node *n = &nodes[self];
	char comm[16] = "";
	CHECK(getpid() == n->pid, "pid %d, was %d", getpid(), n->pid);
	CHECK(getppid() == n->ppid, "parent %d, was %d", getppid(), n->ppid);
	CHECK(getsid(0) == n->sid, "session %d, was %d", getsid(0), n->sid);
	CHECK(getpgrp() == n->pgid, "group %d, was %d", getpgrp(), n->pgid);
	CHECK(verify(data, sizeof data, 500 + (uint64_t)self) < 0, "memory");
	CHECK(!prctl(PR_GET_NAME, comm) && !strcmp(comm, shape[self].name), "name %s", comm);
	for (int i = 0; i < N; i++)
		if (shape[i].dies)
			CHECK(kill(nodes[i].pid, 0) < 0 && errno == ESRCH, "the dead node %s lives", shape[i].name);
		else
			CHECK(getsid(nodes[i].pid) == nodes[i].sid && getpgid(nodes[i].pid) == nodes[i].pgid, "%s: session %d, group %d",
			      shape[i].name, getsid(nodes[i].pid), getpgid(nodes[i].pid));
}

/* a child made by another thread than the main one, and one that shares the fd table and the cwd */
static volatile pid_t bythread;
static pid_t sharer;
static char stack[65536];
static int share(void *arg) /* has its own memory: is told by a file in the common cwd */
{
	(void)arg;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;; h_sleep(2 * MS))
		if (!unlink("close-700"))
			close(700);
	return 0;
}
static void *forker(void *arg)
{
	(void)arg;
	if (!(bythread = fork())) {
		h_part("bythread");
		while (wait_check())
			CHECK(getppid() == nodes[0].pid, "its parent is %d", getppid());
		_exit(23);
	}
	for (;;)
		pause();
	return NULL;
}

int main(void)
{
	pthread_t t;
	char dir[64];
	h_init();
	nodes = MUST(mmap(NULL, sizeof *nodes * MAXP, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	grow(0);
	if (self) {
		while (wait_check())
			look();
		_exit(self);
	}
	if (pthread_create(&t, NULL, forker, NULL) || !WAIT_FOR(bythread > 0))
		DIE("fork in a thread");
	snprintf(dir, sizeof dir, "/tmp/tree.%d", getpid());
	mkdir(dir, 0755);
	sharer = MUST(clone(share, stack + sizeof stack, CLONE_FS | CLONE_FILES | SIGCHLD, NULL));
	MUST(chdir(dir)); /* moves the sharer as well */
	h_sleep(300 * MS);
	ready();

	while (wait_check()) {
		look();
		for (int i = 1; i < N; i++)
			if (!shape[i].dies)
				h_collect(shape[i].name);
		h_collect("bythread");
		CHECK(syscall(SYS_kcmp, getpid(), sharer, 2, 0, 0) <= 0 || errno == EPERM, "the fd table is no longer shared");
		CHECK(syscall(SYS_kcmp, getpid(), bythread, 2, 0, 0) != 0, "an fd table is shared that was not");
		CHECK(dup2(2, 700) == 700, "dup2: %s", strerror(errno));
		close(MUST(creat("close-700", 0600)));
		CHECK(WAIT_FOR(fcntl(700, F_GETFD) < 0), "closing in the sharer (cwd and fd table in common) does not show here");
	}
	kill(sharer, SIGKILL);
	chdir("/");
	rmdir(dir);
	int status, seen = 0;
	while (waitpid(-1, &status, 0) > 0)
		seen++;
	return seen >= 4 ? 0 : 9;
}
