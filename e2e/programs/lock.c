/*
 * State: POSIX locks of two processes through shared and separate descriptions, OFD locks, flock(2) locks (shared by fork,
 * held by several, taken by a process that is dead), on a tmpfs, on a disk, on deleted files, a memfd, a directory, a FIFO
 * and a device; three processes that wait for locks; a shared and an exclusive lease.
 * Wrong could go: a lock lost or of another range, type or owner; one that only its taker gives up; waiters that give up or
 * come before their turn; a lease that breaks by being saved.
 */
#include "harness.h"
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

enum { TO_END = 0 };
static char tmp[128], disk[300];
static struct { long ret, err; struct flock l; } *answer; /* of a stranger, in shared memory */

static const char *path(const char *dir, const char *name)
{
	static char p[4][400];
	static int i;
	snprintf(p[++i % 4], sizeof p[0], "%s/%s", dir, name);
	return p[i % 4];
}
static const char *self(int fd)
{
	static char p[64];
	snprintf(p, sizeof p, "/proc/self/fd/%d", fd);
	return p;
}
static int make(const char *dir, const char *name) { return MUST(open(path(dir, name), O_RDWR | O_CREAT, 0600)); }
static int lock(int fd, int cmd, int type, int64_t start, int64_t len)
{
	struct flock l = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	return fcntl(fd, cmd, &l);
}
/* A stranger opens the file anew and asks with its own description; the results are in *answer. */
#define STRANGER(file, expr) ({ \
	pid_t p_ = fork(); \
	if (!p_) { \
		int fd = open(file, O_RDWR | O_CLOEXEC); \
		if (fd < 0) fd = open(file, O_RDONLY | O_CLOEXEC); \
		errno = 0, answer->ret = fd < 0 ? -2 : (expr), answer->err = errno; \
		_exit(0); \
	} \
	CHECK(waitpid(p_, NULL, 0) == p_, "the stranger is lost"); \
	answer->ret; })
static int ask(int fd, int type, int64_t at)
{
	answer->l = (struct flock){.l_type = (short)type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
	return fcntl(fd, F_GETLK, &answer->l);
}
/* byte checks what a stranger sees of one byte: free (0) or locked by pid, with the range of the lock. */
static void byte(const char *file, int64_t at, int type, pid_t pid, int64_t start, int64_t len)
{
	CHECK(STRANGER(file, ask(fd, F_WRLCK, at)) == 0, "%s: F_GETLK: %ld, %s", file, answer->ret, strerror((int)answer->err));
	struct flock *l = &answer->l;
	if (!pid)
		CHECK(l->l_type == F_UNLCK, "%s: byte %ld is locked by %d", file, (long)at, l->l_pid);
	else
		CHECK(l->l_type == type && (pid == -2 || l->l_pid == pid) && l->l_start == start && l->l_len == len,
		      "%s: byte %ld: type %d of %d, %ld+%ld; not %d of %d, %ld+%ld", file, (long)at, l->l_type, l->l_pid, (long)l->l_start, (long)l->l_len, type, pid, (long)start, (long)len);
	STRANGER(file, ask(fd, F_RDLCK, at));
	CHECK((l->l_type == F_UNLCK) == (!pid || type == F_RDLCK), "%s: byte %ld can %sbe read", file, (long)at, l->l_type == F_UNLCK ? "" : "not ");
}
/* held checks what a stranger's flock(2) finds: F_UNLCK, F_RDLCK or F_WRLCK. */
static void held(const char *file, int type)
{
	long sh = STRANGER(file, flock(fd, LOCK_SH | LOCK_NB)), ex = STRANGER(file, flock(fd, LOCK_EX | LOCK_NB));
	CHECK(sh == (type == F_WRLCK ? -1 : 0) && ex == (type == F_UNLCK ? 0 : -1) && (!ex || answer->err == EWOULDBLOCK),
	      "%s: flock of a stranger gives %ld shared, %ld exclusive (%s)", file, sh, ex, strerror((int)answer->err));
}

/* Waiters: each takes its lock as often as it is told to, and says so. */
struct waiter { const char *name; int (*take)(int fd), (*give)(int fd); int (*holder)(int how); int tell[2], go[2]; pid_t pid; };
static int p1, o1, f1;
static int w_posix(int fd) { return lock(fd, F_SETLKW, F_WRLCK, 0, 10); }
static int g_posix(int fd) { return lock(fd, F_SETLK, F_UNLCK, 0, 10); }
static int h_posix(int type) { return lock(p1, F_SETLK, type, 0, 10); }
static int w_ofd(int fd) { return lock(fd, F_OFD_SETLKW, F_WRLCK, 0, 100); }
static int g_ofd(int fd) { return lock(fd, F_OFD_SETLK, F_UNLCK, 0, 100); }
static int h_ofd(int type) { return lock(o1, F_OFD_SETLK, type, 0, 100); }
static int w_flock(int fd) { return flock(fd, LOCK_EX); }
static int g_flock(int fd) { return flock(fd, LOCK_UN); }
static int h_flock(int type) { return flock(f1, (type == F_UNLCK ? LOCK_UN : LOCK_EX) | LOCK_NB); }
static struct waiter waiters[] = {
	{"posix", w_posix, g_posix, h_posix, {}, {}, 0}, {"ofd", w_ofd, g_ofd, h_ofd, {}, {}, 0}, {"flock", w_flock, g_flock, h_flock, {}, {}, 0},
};
enum { WAITERS = sizeof waiters / sizeof *waiters };
static int blocked(void) /* how many wait for our files */
{
	static char text[65536];
	int n = 0;
	h_slurp("/proc/locks", text, sizeof text);
	for (int i = 0; i < WAITERS; i++) {
		struct stat st;
		char file[64];
		stat(path(tmp, waiters[i].name), &st);
		snprintf(file, sizeof file, " %02x:%02x:%lu ", major(st.st_dev), minor(st.st_dev), (unsigned long)st.st_ino);
		for (char *s = text; (s = strstr(s, "->")); s += 2) {
			char *at = strstr(s, file), *end = strchr(s, '\n');
			n += at && at < end;
		}
	}
	return n;
}
static void start(struct waiter *w)
{
	MUST(pipe(w->tell)), MUST(pipe(w->go));
	if ((w->pid = MUST(fork())))
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int fd = 3; fd < 200; fd++) /* no description of the others: their locks would stay with us */
		if (fd != w->tell[1] && fd != w->go[0])
			close(fd);
	int fd = open(path(tmp, w->name), O_RDWR);
	for (char c = 'x';;) {
		c = !w->take(fd) ? 'k' : 'e'; /* e: an error, say EINTR */
		if (w->give(fd))
			c = 'u';
		if (write(w->tell[1], &c, 1) != 1 || read(w->go[0], &c, 1) != 1)
			_exit(1);
	}
}
static void check_waiter(struct waiter *w)
{
	char c = 0;
	fcntl(w->tell[0], F_SETFL, O_NONBLOCK);
	CHECK(read(w->tell[0], &c, 1) < 0 && errno == EAGAIN, "waiter %s did not wait: %c", w->name, c);
	CHECK(!w->holder(F_UNLCK), "unlock %s: %s", w->name, strerror(errno));
	CHECK(WAIT_FOR(read(w->tell[0], &c, 1) == 1) && c == 'k', "waiter %s: %c when its turn has come", w->name, c ? c : '-');
	CHECK(!w->holder(F_WRLCK), "lock %s again: %s", w->name, strerror(errno));
	CHECK(write(w->go[1], "x", 1) == 1, "waiter %s is gone", w->name);
}

static pid_t mortal(void) /* holds locks on the file "mortal" until it is killed */
{
	char c;
	int ready[2];
	MUST(pipe(ready));
	pid_t p = MUST(fork());
	if (!p) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int fd = 3; fd < 200; fd++)
			if (fd != ready[1])
				close(fd);
		int fd = open(path(tmp, "mortal"), O_RDWR);
		c = lock(fd, F_SETLK, F_WRLCK, 7, 3) || flock(fd, LOCK_EX) ? 'e' : 'k';
		if (write(ready[1], &c, 1) == 1)
			close(ready[1]);
		for (;; h_sleep(20 * MS))
			;
	}
	CHECK(read(ready[0], &c, 1) == 1 && c == 'k', "a new process does not get its locks");
	close(ready[0]), close(ready[1]);
	return p;
}

static volatile int broken, broken_fd;
static void on_break(int s, siginfo_t *i, void *u) { (void)s, (void)u; broken++, broken_fd = i->si_fd; }
static void check_lease(int fd, const char *name, int type, int flags)
{
	CHECK(fcntl(fd, F_GETLEASE) == type && !broken, "%s: %d; %d were broken", name, fcntl(fd, F_GETLEASE), broken);
	pid_t p = fork();
	if (!p)
		_exit(open(path(disk, name), flags | O_NONBLOCK) < 0 ? errno : 0);
	int st = -1;
	CHECK(waitpid(p, &st, 0) == p && WEXITSTATUS(st) == EWOULDBLOCK, "%s: an open by another: %x", name, st);
	CHECK(WAIT_FOR(broken) && broken == 1 && broken_fd == fd, "%s: %d signals about its break, the last with descriptor %d", name, broken, broken_fd);
	broken = 0;
	/* giving it up forgets the signal */
	CHECK(!fcntl(fd, F_SETLEASE, F_UNLCK) && !fcntl(fd, F_SETSIG, SIGRTMIN + 3) && !fcntl(fd, F_SETLEASE, type), "%s: taking it again: %s", name, strerror(errno));
}

int main(void)
{
	h_init();
	answer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(tmp, sizeof tmp, "/tmp/lock.%d", getpid());
	snprintf(disk, sizeof disk, "%slock.%d", h.prefix, getpid());
	MUST(mkdir(tmp, 0700)), MUST(mkdir(disk, 0700));
	pid_t me = getpid(), kid;

	p1 = make(tmp, "posix"), o1 = make(tmp, "ofd"), f1 = make(tmp, "flock");
	int p2 = make(tmp, "posix"), o2 = MUST(open(path(tmp, "ofd"), O_RDONLY)), o3 = MUST(open(path(tmp, "ofd"), O_RDONLY | O_CLOEXEC));
	int on_disk = make(disk, "file"), fs1 = make(disk, "shared"), fs2 = make(disk, "shared"), dead = make(disk, "dead"), kids = make(tmp, "kids");
	int gone = make(disk, "gone"), gone2 = make(tmp, "gone"), mem = MUST(memfd_create("lock", MFD_CLOEXEC));
	int dir = MUST(open(disk, O_RDONLY | O_DIRECTORY)), null = MUST(open("/dev/null", O_RDWR)), fifo;
	MUST(mkfifo(path(tmp, "fifo"), 0600));
	fifo = MUST(open(path(tmp, "fifo"), O_RDWR));
	MUST(fcntl(p1, F_DUPFD_CLOEXEC, 90));
	close(make(tmp, "mortal"));
	MUST(unlink(path(disk, "gone"))), MUST(unlink(path(tmp, "gone")));

	/* POSIX: by two descriptions, and by a child that has one of them from us. */
	MUST(lock(p1, F_SETLK, F_WRLCK, 0, 10));
	MUST(lock(p1, F_SETLK, F_RDLCK, 20, 10));
	MUST(lock(p2, F_SETLK, F_WRLCK, 50, 10));
	MUST(ftruncate(p1, 100));
	struct flock end = {.l_type = F_WRLCK, .l_whence = SEEK_END};
	MUST(fcntl(p1, F_SETLK, &end)); /* from 100 on */
	MUST(lock(on_disk, F_SETLK, F_WRLCK, 1LL << 40, 1LL << 20));
	/* OFD: one exclusive, two shared to the end. */
	MUST(lock(o1, F_OFD_SETLK, F_WRLCK, 0, 100));
	MUST(lock(o2, F_OFD_SETLK, F_RDLCK, 200, TO_END)), MUST(lock(o3, F_OFD_SETLK, F_RDLCK, 200, 100));
	/* flock(2) */
	MUST(flock(f1, LOCK_EX)), MUST(flock(fs1, LOCK_SH)), MUST(flock(fs2, LOCK_SH));
	MUST(flock(dir, LOCK_SH)), MUST(flock(null, LOCK_SH)), MUST(flock(fifo, LOCK_EX));
	if (!(kid = MUST(fork())))
		_exit(flock(dead, LOCK_EX) ? 1 : 0); /* as the shell's "exec 9>file; flock 9" */
	int st;
	if (waitpid(kid, &st, 0) != kid || st)
		DIE("flock in a child");
	/* one that only a mapping keeps */
	int kept = make(tmp, "kept");
	MUST(ftruncate(kept, 4096)), MUST(flock(kept, LOCK_EX));
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0) == MAP_FAILED)
		DIE("mmap");
	close(kept);
	/* a mapping of overlayfs keeps the file below and not its own */
	int keeps = STRANGER(path(tmp, "kept"), flock(fd, LOCK_SH | LOCK_NB)) ? F_WRLCK : F_UNLCK;
	/* files that only descriptors lead to */
	MUST(flock(gone, LOCK_EX)), MUST(lock(gone, F_SETLK, F_RDLCK, 3, 4)), MUST(lock(gone2, F_OFD_SETLK, F_WRLCK, 5, 6));
	MUST(flock(mem, LOCK_SH)), MUST(lock(mem, F_SETLK, F_WRLCK, 0, TO_END));
	/* leases: on files that nobody else has open */
	int rlease, wlease = make(disk, "wlease");
	close(make(disk, "rlease"));
	rlease = MUST(open(path(disk, "rlease"), O_RDONLY));
	struct sigaction on = {.sa_sigaction = on_break, .sa_flags = SA_SIGINFO | SA_RESTART};
	MUST(sigaction(SIGRTMIN + 3, &on, NULL));
	if (fcntl(rlease, F_SETLEASE, F_RDLCK))
		SKIP("leases on this filesystem");
	MUST(fcntl(rlease, F_SETSIG, SIGRTMIN + 3)), MUST(fcntl(wlease, F_SETSIG, SIGRTMIN + 3)), MUST(fcntl(wlease, F_SETLEASE, F_WRLCK));

	if (!(kid = MUST(fork()))) {
		h_part("child");
		close(wlease), close(rlease);
		if (lock(p1, F_SETLK, F_RDLCK, 20, 10) || lock(p1, F_SETLK, F_WRLCK, 30, 10) || flock(kids, LOCK_EX))
			_exit(1);
		while (wait_check()) {
			CHECK(!ask(p1, F_WRLCK, 0) && answer->l.l_type == F_WRLCK && answer->l.l_pid == me, "the child finds byte 0 locked by %d", answer->l.l_pid);
			CHECK(!ask(p1, F_WRLCK, 30) && answer->l.l_type == F_UNLCK, "the child's own lock is another's: %d", answer->l.l_pid);
			CHECK(!flock(f1, LOCK_EX | LOCK_NB), "the child has not its parent's flock: %s", strerror(errno));
			CHECK(!lock(o1, F_OFD_SETLK, F_WRLCK, 0, 100), "the child has not its parent's OFD lock: %s", strerror(errno));
		}
		return 0;
	}
	char posix[400];
	strcpy(posix, path(tmp, "posix"));
	if (!WAIT_FOR(STRANGER(posix, ask(fd, F_WRLCK, 30)) == 0 && answer->l.l_type == F_WRLCK) || !WAIT_FOR(STRANGER(path(tmp, "kids"), flock(fd, LOCK_SH | LOCK_NB)) == -1))
		DIE("the child's locks");
	for (int i = 0; i < WAITERS; i++)
		start(&waiters[i]);
	pid_t mortal_pid = mortal();
	if (!WAIT_FOR(blocked() == WAITERS))
		DIE("%d wait for a lock", blocked());
	ready();

	while (wait_check()) {
		h_collect("child");
		held(path(tmp, "kept"), keeps);
		byte(posix, 0, F_WRLCK, me, 0, 10), byte(posix, 9, F_WRLCK, me, 0, 10), byte(posix, 10, 0, 0, 0, 0), byte(posix, 19, 0, 0, 0, 0);
		byte(posix, 20, F_RDLCK, -2, 20, 10), byte(posix, 29, F_RDLCK, -2, 20, 10), byte(posix, 30, F_WRLCK, kid, 30, 10);
		byte(posix, 40, 0, 0, 0, 0), byte(posix, 50, F_WRLCK, me, 50, 10), byte(posix, 60, 0, 0, 0, 0), byte(posix, 99, 0, 0, 0, 0);
		byte(posix, 100, F_WRLCK, me, 100, TO_END), byte(posix, 1LL << 50, F_WRLCK, me, 100, TO_END);
		CHECK(!lock(p2, F_SETLK, F_UNLCK, 20, 10), "unlock: %s", strerror(errno));
		byte(posix, 20, F_RDLCK, kid, 20, 10); /* both had it */
		CHECK(!lock(p1, F_SETLK, F_RDLCK, 20, 10), "lock: %s", strerror(errno));
		byte(path(disk, "file"), 1LL << 40, F_WRLCK, me, 1LL << 40, 1LL << 20), byte(path(disk, "file"), 0, 0, 0, 0, 0);

		byte(path(tmp, "ofd"), 99, F_WRLCK, -1, 0, 100), byte(path(tmp, "ofd"), 100, 0, 0, 0, 0), byte(path(tmp, "ofd"), 1LL << 50, F_RDLCK, -1, 200, TO_END);
		CHECK(!lock(o2, F_OFD_SETLK, F_UNLCK, 0, TO_END), "unlock: %s", strerror(errno));
		byte(path(tmp, "ofd"), 299, F_RDLCK, -1, 200, 100), byte(path(tmp, "ofd"), 300, 0, 0, 0, 0);
		CHECK(!lock(o2, F_OFD_SETLK, F_RDLCK, 200, TO_END), "lock: %s", strerror(errno));
		CHECK(lock(o3, F_OFD_SETLK, F_RDLCK, 50, 1) < 0 && errno == EAGAIN, "two descriptions have one OFD lock");

		held(path(tmp, "flock"), F_WRLCK), held(path(disk, "shared"), F_RDLCK), held(path(disk, "dead"), F_WRLCK), held(disk, F_RDLCK);
		held(path(tmp, "kids"), F_WRLCK), held(path(tmp, "fifo"), F_WRLCK), held("/dev/null", F_RDLCK);
		CHECK(!flock(fs1, LOCK_UN), "unlock: %s", strerror(errno));
		held(path(disk, "shared"), F_RDLCK); /* by the other */
		CHECK(!flock(fs1, LOCK_SH | LOCK_NB), "lock: %s", strerror(errno));
		CHECK(!flock(dead, LOCK_UN), "unlock what a dead child has locked: %s", strerror(errno));
		held(path(disk, "dead"), F_UNLCK);
		pid_t taker = fork();
		if (!taker)
			_exit(flock(dead, LOCK_EX | LOCK_NB) ? 1 : 0);
		CHECK(waitpid(taker, &st, 0) == taker && !st, "lock it again: %x", st);

		held(self(gone), F_WRLCK), byte(self(gone), 6, F_RDLCK, me, 3, 4), byte(self(gone), 7, 0, 0, 0, 0), byte(self(gone2), 10, F_WRLCK, -1, 5, 6);
		held(self(mem), F_RDLCK), byte(self(mem), 12345, F_WRLCK, me, 0, TO_END);

		for (int i = 0; i < WAITERS; i++)
			check_waiter(&waiters[i]);
		CHECK(WAIT_FOR(blocked() == WAITERS), "%d wait for a lock", blocked());

		byte(path(tmp, "mortal"), 7, F_WRLCK, mortal_pid, 7, 3), held(path(tmp, "mortal"), F_WRLCK);
		kill(mortal_pid, SIGKILL), waitpid(mortal_pid, NULL, 0);
		byte(path(tmp, "mortal"), 7, 0, 0, 0, 0), held(path(tmp, "mortal"), F_UNLCK);
		mortal_pid = mortal();

		check_lease(rlease, "rlease", F_RDLCK, O_WRONLY), check_lease(wlease, "wlease", F_WRLCK, O_RDONLY);
	}
	for (int i = 0; i < WAITERS; i++)
		kill(waiters[i].pid, SIGKILL);
	kill(mortal_pid, SIGKILL);
	char rm[600];
	snprintf(rm, sizeof rm, "rm -rf %s %s", tmp, disk);
	return getenv("STATE_DIR") && system(rm) ? 1 : 0;
}
