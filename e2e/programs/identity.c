/*
 * State: what makes a task itself: comm, rewritten argv and environment, auxv, exe, umask, cwd, chroot (with the cwd
 * inside and outside of it), rlimits below their hard values, nice, SCHED_BATCH and SCHED_IDLE, affinity,
 * oom_score_adj, parent death signal, dumpable, no_new_privs, keepcaps, personality, timer slack.
 * Wrong could go: each of them; some are cleared by the setting of another (credentials clear dumpable and the parent
 * death signal), some cannot be raised again without privilege.
 */
#include "harness.h"
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *const files[] = {"cmdline", "environ", "auxv", "comm", "limits", "oom_score_adj", "personality", "timerslack_ns", "coredump_filter", "setgroups"};
enum { NFILES = sizeof files / sizeof *files };
static const char *const lines[] = {"Name", "Umask", "Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp", "Cpus_allowed_list", "Mems_allowed_list", "THP_enabled", "CapBnd", "untag_mask"};
enum { NLINES = sizeof lines / sizeof *lines };
static struct shot {
	char file[NFILES][8192], line[NLINES][256], exe[300], cwd[300];
	ssize_t len[NFILES];
	struct rlimit lim[16];
	int nice, policy, dumpable, keepcaps, nnp, pdeath, pers;
	unsigned long slack;
	cpu_set_t cpus;
	unsigned long long mm[16];
} was, now;
static const int stat_fields[] = {18, 19, 26, 27, 28, 38, 40, 41, 45, 46, 47, 48, 49, 50, 51}; /* priority, addresses, ... */
static int jailed;

static void take(struct shot *s)
{
	memset(s, 0, sizeof *s);
	for (int i = 0; i < NFILES && !jailed; i++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/self/%s", files[i]);
		s->len[i] = h_slurp(path, s->file[i], sizeof s->file[i]);
	}
	for (int i = 0; i < NLINES && !jailed; i++)
		h_field("/proc/self/status", lines[i], s->line[i], sizeof s->line[i]);
	if (!jailed && readlink("/proc/self/exe", s->exe, sizeof s->exe - 1) < 0)
		h_fail("exe: %s", strerror(errno));
	syscall(SYS_getcwd, s->cwd, sizeof s->cwd);
	for (int i = 0; i < 16; i++)
		prlimit(0, (__rlimit_resource_t)i, NULL, &s->lim[i]);
	s->nice = getpriority(PRIO_PROCESS, 0), s->policy = sched_getscheduler(0);
	s->dumpable = prctl(PR_GET_DUMPABLE), s->keepcaps = prctl(PR_GET_KEEPCAPS), s->nnp = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	prctl(PR_GET_PDEATHSIG, &s->pdeath);
	s->pers = personality(0xffffffff), s->slack = (unsigned long)prctl(PR_GET_TIMERSLACK);
	sched_getaffinity(0, sizeof s->cpus, &s->cpus);
	for (size_t i = 0; i < sizeof stat_fields / sizeof *stat_fields && !jailed; i++)
		s->mm[i] = h_stat("/proc/self/stat", stat_fields[i]);
}
static void compare(void)
{
	take(&now);
	for (int i = 0; i < NFILES; i++)
		CHECK(now.len[i] == was.len[i] && !memcmp(now.file[i], was.file[i], sizeof now.file[i]), "/proc/self/%s was %.200s, is %.200s", files[i], was.file[i], now.file[i]);
	for (int i = 0; i < NLINES; i++)
		CHECK(!strcmp(now.line[i], was.line[i]), "status %s was %s, is %s", lines[i], was.line[i], now.line[i]);
	CHECK(!strcmp(now.exe, was.exe) && !strcmp(now.cwd, was.cwd), "exe %s, cwd %s; were %s, %s", now.exe, now.cwd, was.exe, was.cwd);
	for (int i = 0; i < 16; i++)
		CHECK(!memcmp(&now.lim[i], &was.lim[i], sizeof now.lim[i]), "rlimit %d is %lu/%lu, was %lu/%lu", i, now.lim[i].rlim_cur, now.lim[i].rlim_max, was.lim[i].rlim_cur, was.lim[i].rlim_max);
	CHECK(now.nice == was.nice && now.policy == was.policy, "nice %d policy %d, were %d %d", now.nice, now.policy, was.nice, was.policy);
	CHECK(now.dumpable == was.dumpable && now.keepcaps == was.keepcaps && now.nnp == was.nnp, "dumpable %d keepcaps %d no_new_privs %d", now.dumpable, now.keepcaps, now.nnp);
	CHECK(now.pdeath == was.pdeath && now.pers == was.pers && now.slack == was.slack, "pdeathsig %d personality %x slack %lu", now.pdeath, now.pers, now.slack);
	CHECK(CPU_EQUAL(&now.cpus, &was.cpus), "affinity has %d cpus", CPU_COUNT(&now.cpus));
	for (size_t i = 0; i < sizeof stat_fields / sizeof *stat_fields; i++)
		CHECK(now.mm[i] == was.mm[i], "stat field %d is %llx, was %llx", stat_fields[i], now.mm[i], was.mm[i]);
}
static void put(const char *path, const char *text)
{
	int fd = MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));
	if (write(fd, text, strlen(text)) < 0)
		DIE("write %s to %s", text, path);
	close(fd);
}
static void limit(int what, rlim_t cur, rlim_t max)
{
	struct rlimit r = {cur, max}, old;
	MUST(prlimit(0, (__rlimit_resource_t)what, NULL, &old));
	if (r.rlim_max > old.rlim_max)
		r.rlim_max = old.rlim_max;
	if (r.rlim_cur > r.rlim_max)
		r.rlim_cur = r.rlim_max;
	MUST(prlimit(0, (__rlimit_resource_t)what, &r, NULL));
}
/* jail goes into a chroot that has no /proc and no state directory: those are reached by a descriptor */
static void jail(const char *base, int inside)
{
	char path[200];
	h.dirfd = MUST(open(h.prefix, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	h.prefix[0] = 0;
	snprintf(path, sizeof path, "%s/jail", base);
	MUST(chdir(inside ? path : base));
	MUST(chroot(path));
	if (inside)
		MUST(chdir("/sub"));
	jailed = 1;
	take(&was);
	h_part(inside ? "jailed" : "outside");
	while (wait_check()) {
		struct sched_param p;
		compare();
		CHECK(!access("/i-am-the-jail", F_OK) && access("/proc", F_OK) < 0, "the root is another");
		CHECK(!access(inside ? "in-sub" : "in-base", F_OK), "the cwd is another");
		CHECK(access("../../../proc", F_OK) == (inside ? -1 : 0), "the way out of the jail");
		CHECK(!sched_getparam(0, &p) && p.sched_priority == 0, "sched_getparam");
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	char base[128], path[200];
	h_init();
	snprintf(base, sizeof base, "/tmp/identity.%d", getpid());
	MUST(mkdir(base, 0755));
	snprintf(path, sizeof path, "%s/jail", base), MUST(mkdir(path, 0755));
	snprintf(path, sizeof path, "%s/jail/sub", base), MUST(mkdir(path, 0755));
	snprintf(path, sizeof path, "%s/jail/i-am-the-jail", base), put(path, "");
	snprintf(path, sizeof path, "%s/jail/sub/in-sub", base), put(path, "");
	snprintf(path, sizeof path, "%s/in-base", base), put(path, "");
	if (!MUST(fork())) {
		struct sched_param p = {0};
		MUST(sched_setscheduler(0, SCHED_IDLE, &p));
		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
		jail(base, 1);
	}
	if (!MUST(fork()))
		jail(base, 0);
	if (!MUST(fork())) { /* dumpable 0, batch, lowest priority, everything else untouched */
		struct sched_param p = {0};
		MUST(prctl(PR_SET_DUMPABLE, 0));
		MUST(setpriority(PRIO_PROCESS, 0, 19));
		MUST(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p));
		take(&was);
		h_part("batch");
		while (wait_check())
			compare();
		_exit(0);
	}
	MUST(chdir(base));
	umask(0137);
	MUST(prctl(PR_SET_NAME, "a) R (b\n\t\\"));
	/* the argv area is overwritten, as setproctitle does; the environment gets another value in place */
	size_t room = strlen(argv[argc - 1]) + (size_t)(argv[argc - 1] - argv[0]);
	memset(argv[0], '#', room);
	if (environ[0] && strchr(environ[0], '='))
		memset(strchr(environ[0], '=') + 1, '%', strlen(strchr(environ[0], '=') + 1));
	limit(RLIMIT_NOFILE, 123, 456), limit(RLIMIT_CORE, 0, 1 << 20), limit(RLIMIT_STACK, 4 << 20, 64 << 20);
	limit(RLIMIT_CPU, 100000, 200000), limit(RLIMIT_FSIZE, 1ULL << 33, 1ULL << 40), limit(RLIMIT_MSGQUEUE, 1000, 2000);
	limit(RLIMIT_SIGPENDING, 99, 100), limit(RLIMIT_DATA, 1ULL << 34, RLIM_INFINITY), limit(RLIMIT_NICE, 0, 0);
	MUST(setpriority(PRIO_PROCESS, 0, 7));
	put("/proc/self/oom_score_adj", "321");
	put("/proc/self/coredump_filter", "0x5");
	cpu_set_t one, all;
	MUST(sched_getaffinity(0, sizeof all, &all));
	CPU_ZERO(&one);
	for (int c = CPU_SETSIZE - 1; c >= 0 && !CPU_COUNT(&one); c--)
		if (CPU_ISSET(c, &all))
			CPU_SET(c, &one);
	MUST(sched_setaffinity(0, sizeof one, &one));
	MUST(prctl(PR_SET_KEEPCAPS, 1));
	MUST(prctl(PR_SET_TIMERSLACK, 123456UL));
	MUST(prctl(PR_SET_PDEATHSIG, SIGWINCH));
	MUST(personality(UNAME26));
	take(&was);
	ready();

	while (wait_check()) {
		compare();
		close(MUST(creat("mode", 0777)));
		struct stat st;
		CHECK(!stat("mode", &st) && (st.st_mode & 0777) == 0640, "the umask gave a file of mode %o", st.st_mode & 0777);
		snprintf(path, sizeof path, "%s/mode", base);
		CHECK(!unlink(path), "the cwd is another: %s", strerror(errno));
		int fd = open("/", O_RDONLY), high = fcntl(fd, F_DUPFD, 123);
		CHECK(high < 0 && errno == EINVAL, "the limit of open files does not hold");
		close(fd);
		h_collect("jailed"), h_collect("outside"), h_collect("batch");
	}
	return 0;
}
