/*
 * State: pseudo terminal pairs of the container's own: termios, window size, data in both directions with control
 * characters and ends of files in it, packet mode, an exclusive and a locked slave, two descriptions of a slave, a session
 * that has one as its controlling terminal with a foreground and a background group and a member that has given it
 * up, output that is stopped, more input than a terminal takes, a pair whose slave nobody has open and one whose slave
 * nobody ever had open, slaves that have hung up, with their master or because they were told to, and /dev/tty open
 * beyond the end of its session.
 * Wrong could go: the number of the pair, settings, a line that was typed but not yet ended, the controlling terminal
 * and foreground group, SIGWINCH or SIGHUP sent by the restore, a hangup forgotten or added.
 */
#include "harness.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>

struct pair { int m, s, n; struct termios t; struct winsize w; };
static volatile int signals;
static void on_sig(int s) { (void)s, signals++; }

static void open_pair(struct pair *p)
{
	char name[32];
	p->m = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
	MUST(ioctl(p->m, TIOCGPTN, &p->n)), MUST(ioctl(p->m, TIOCSPTLCK, &(int){0}));
	snprintf(name, sizeof name, "/dev/pts/%d", p->n);
	p->s = MUST(open(name, O_RDWR | O_NOCTTY));
}
static void keep(struct pair *p) { MUST(tcgetattr(p->s, &p->t)), MUST(ioctl(p->s, TIOCGWINSZ, &p->w)); }
static void same(struct pair *p, const char *who)
{
	struct termios t;
	struct winsize w;
	int n = -1;
	CHECK(!tcgetattr(p->m, &t) && t.c_iflag == p->t.c_iflag && t.c_oflag == p->t.c_oflag && t.c_cflag == p->t.c_cflag && t.c_lflag == p->t.c_lflag && t.c_line == p->t.c_line && !memcmp(t.c_cc, p->t.c_cc, 19), "%s: termios %x %x %x %x", who, t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag);
	CHECK(cfgetispeed(&t) == cfgetispeed(&p->t) && cfgetospeed(&t) == cfgetospeed(&p->t), "%s: speeds", who);
	CHECK(!ioctl(p->m, TIOCGWINSZ, &w) && !memcmp(&w, &p->w, sizeof w), "%s: window %dx%d", who, w.ws_col, w.ws_row);
	CHECK(!ioctl(p->m, TIOCGPTN, &n) && n == p->n, "%s: number %d, not %d", who, n, p->n);
}
static void put(int fd, const char *t) { CHECK(write(fd, t, strlen(t)) == (ssize_t)strlen(t), "write to the terminal: %s", strerror(errno)); }
static void expect(int fd, const char *t, const char *who)
{
	char buf[256] = "";
	ssize_t n = 0, want = (ssize_t)strlen(t);
	for (int i = 0; i < 5000 && n < want; i++, h_sleep(MS)) {
		ssize_t r = read(fd, buf + n, sizeof buf - 1 - (size_t)n);
		n += r > 0 ? r : 0;
	}
	CHECK(n == want && !strcmp(buf, t), "%s reads '%s', not '%s'", who, buf, t);
}

#define DATA "to the slave \003\004\021\023\r\377"

/* read_is reads once, as canonical mode cuts it. */
static void read_is(int fd, const char *t, size_t n, const char *who)
{
	char buf[256] = "";
	ssize_t r = -1;
	for (int i = 0; i < 5000 && (r = read(fd, buf, sizeof buf)) < 0 && errno == EAGAIN; i++)
		h_sleep(MS);
	CHECK(r == (ssize_t)n && !memcmp(buf, t, n), "%s reads %zd bytes '%.*s', not %zu '%.*s'", who, r, r > 0 ? (int)r : 0, buf, n, (int)n, t);
}
static int hangs(int fd)
{
	struct pollfd p = {fd, POLLIN, 0};
	poll(&p, 1, 0);
	return !!(p.revents & POLLHUP);
}
static void hung_up(int fd, int deleted, const char *who)
{
	char c, link[64] = "", path[32];
	struct winsize w;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK(readlink(path, link, sizeof link - 1) > 0 && !!strstr(link, "(deleted)") == deleted, "%s leads to %s", who, link);
	CHECK(read(fd, &c, 1) == 0 && write(fd, "x", 1) < 0 && errno == EIO && ioctl(fd, TIOCGWINSZ, &w) < 0 && errno == EIO && hangs(fd), "%s has not hung up", who);
}
/* output reads what the members of the session print, in any order; the echo of the interrupt comes whenever the kernel gets to it. */
static void output(int fd)
{
	char buf[256] = "";
	ssize_t n = 0;
	for (int i = 0; i < 5000 && n < 14; i++, h_sleep(MS)) {
		ssize_t r = read(fd, buf + n, sizeof buf - 1 - (size_t)n);
		n += r > 0 ? r : 0;
	}
	char *echo = strstr(buf, "^C");
	if (echo)
		memmove(echo, echo + 2, strlen(echo + 2) + 1);
	CHECK(n == 14 && echo && strstr(buf, "job\r\n") && strstr(buf, "loner\r\n"), "controlling master reads '%s' and %s", buf, echo ? "an echo" : "no echo");
}
static void slave_name(struct pair *p, char *name) { snprintf(name, 32, "/dev/pts/%d", p->n); }

static struct pair many, closed, never, gone, hung, left, lines, paused, full;
static int second, alive;
/* build makes the pairs that main does not. */
static void build(void)
{
	char name[32];
	open_pair(&gone), open_pair(&many), open_pair(&closed), open_pair(&hung), open_pair(&left), open_pair(&lines), open_pair(&paused), open_pair(&full);
	close(gone.m);
	never.m = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	MUST(ioctl(never.m, TIOCGPTN, &never.n));
	second = MUST(ioctl(many.m, TIOCGPTPEER, O_WRONLY | O_NOCTTY | O_NONBLOCK)); /* as openpty(3) does it: without O_LARGEFILE */
	MUST(fchmod(many.s, 0640)), MUST(fchown(many.s, 33, 5));
	MUST(ioctl(closed.s, TIOCEXCL)), MUST(ioctl(closed.m, TIOCSPTLCK, &(int){1}));
	int status = -1;
	pid_t leader = MUST(fork());
	if (!leader) { /* the session ends, one that has opened /dev/tty lives on */
		signal(SIGHUP, SIG_IGN);
		MUST(setsid()), MUST(ioctl(left.s, TIOCSCTTY, 0));
		int tty = MUST(open("/dev/tty", O_RDWR | O_NONBLOCK));
		if (MUST(fork()))
			_exit(0);
		h_part("left");
		while (wait_check()) {
			CHECK(h_stat("/proc/self/stat", 7) == 0 && open("/dev/tty", O_RDWR) < 0 && errno == ENXIO, "the terminal controls after the end of its session");
			CHECK(h_flags(tty) == (O_RDWR | O_NONBLOCK), "flags %o", h_flags(tty));
			put(tty, "left\n");
		}
		_exit(0);
	}
	MUST(waitpid(leader, &status, 0));
	if (status)
		DIE("no session on terminal %d: %x", left.n, status);
	MUST(ioctl(hung.s, TIOCVHANGUP, 0));
	slave_name(&hung, name);
	alive = MUST(open(name, O_RDWR | O_NOCTTY));
	struct termios fixed = {.c_lflag = ECHO};
	MUST(ioctl(alive, TIOCSLCKTRMIOS, &fixed));
	struct termios t;
	MUST(tcgetattr(full.s, &t)), cfmakeraw(&t), MUST(tcsetattr(full.s, TCSANOW, &t));
	MUST(fcntl(full.s, F_SETFL, O_NONBLOCK));
	MUST(tcgetattr(lines.s, &t));
	t.c_lflag &= ~(tcflag_t)ECHO, t.c_cc[VEOL] = '|';
	MUST(tcsetattr(lines.s, TCSANOW, &t));
	MUST(fcntl(lines.s, F_SETFL, O_NONBLOCK));
}
static int writable(int fd)
{
	struct pollfd p = {fd, POLLOUT, 0};
	poll(&p, 1, 0);
	return !!(p.revents & POLLOUT);
}
static char much[6000];
static void type_lines(void)
{
	put(paused.m, "\023"); /* Ctrl-S */
	memset(much, 'x', sizeof much);
	CHECK(write(full.m, much, sizeof much) == sizeof much, "type much");
	put(lines.m, "end of file\004\004\026\003literal\nbar|rub\177out\nrest");
}
static void check(void)
{
	char name[32];
	struct stat st;
	int on = 0;
	hung_up(gone.s, 1, "the slave of a closed master"), hung_up(hung.s, 0, "a slave that was hung up");
	put(alive, "alive");
	expect(hung.m, "alive", "the master of a slave that was hung up");
	struct termios fixed = {0};
	CHECK(!ioctl(alive, TIOCGLCKTRMIOS, &fixed) && fixed.c_lflag == ECHO && !fixed.c_iflag && !fixed.c_oflag, "fixed settings %x %x", fixed.c_lflag, fixed.c_iflag);
	h_collect("left");
	expect(left.m, "left\r\n", "the master of an ended session");
	CHECK(!hangs(never.m), "a slave that never was open has hung up");
	CHECK(h_flags(second) == (O_WRONLY | O_NONBLOCK) && h_flags(many.s) == O_RDWR, "flags %o and %o", h_flags(second), h_flags(many.s));
	put(second, "one "), put(many.s, "two");
	expect(many.m, "one two", "the master of two slaves");
	CHECK(!fstat(many.s, &st) && (st.st_mode & 07777) == 0640 && st.st_uid == 33 && st.st_gid == 5, "mode %o of %d:%d", st.st_mode, st.st_uid, st.st_gid);
	slave_name(&closed, name);
	CHECK(!ioctl(closed.s, TIOCGEXCL, &on) && on == 1, "exclusive %d", on);
	CHECK(!ioctl(closed.m, TIOCGPTLCK, &on) && on == 1, "locked %d", on);
	CHECK(open(name, O_RDWR | O_NOCTTY) < 0, "%s can be opened", name);
	CHECK(WAIT_FOR(!writable(paused.s)), "stopped output can be written to");
	put(paused.m, "\021");
	CHECK(WAIT_FOR(writable(paused.s)), "stopped output does not go on");
	char buf[sizeof much];
	size_t n = 0;
	for (ssize_t r; n < sizeof buf && WAIT_FOR((r = read(full.s, buf + n, sizeof buf - n)) > 0); n += (size_t)r)
		;
	CHECK(n == sizeof much && !memcmp(buf, much, n), "%zu of %zu bytes", n, sizeof much);
	read_is(lines.s, "end of file", 11, "the line before an end of file"), read_is(lines.s, "", 0, "the end of file");
	read_is(lines.s, "\003literal\n", 9, "a literal"), read_is(lines.s, "bar|", 4, "a line of its own end"), read_is(lines.s, "ruout\n", 6, "a corrected line");
	put(lines.m, "\177T\n"); /* what is being typed can still be corrected */
	read_is(lines.s, "resT\n", 5, "the line that was being typed");
}

int main(void)
{
	struct pair raw, cooked, lone, ctl;
	int mode, sync[2];
	h_init();
	build();
	open_pair(&raw), open_pair(&cooked), open_pair(&lone), open_pair(&ctl);
	MUST(tcgetattr(raw.s, &raw.t));
	cfmakeraw(&raw.t), raw.t.c_cc[VMIN] = 3, raw.t.c_cc[VTIME] = 7, cfsetspeed(&raw.t, B19200);
	MUST(tcsetattr(raw.s, TCSANOW, &raw.t));
	MUST(ioctl(raw.m, TIOCSWINSZ, &((struct winsize){43, 132, 800, 600})));
	MUST(fcntl(raw.s, F_SETFL, O_NONBLOCK));
	MUST(tcgetattr(cooked.s, &cooked.t));
	cooked.t.c_cc[VINTR] = 'X', cooked.t.c_iflag |= IUTF8, cooked.t.c_lflag &= ~(tcflag_t)ECHO, cooked.t.c_oflag &= ~(tcflag_t)OPOST;
	MUST(tcsetattr(cooked.s, TCSANOW, &cooked.t));
	MUST(fcntl(cooked.s, F_SETFL, O_NONBLOCK));
	MUST(ioctl(raw.m, TIOCPKT, &(int){1}));
	keep(&raw), keep(&cooked), keep(&lone);
	close(lone.s);
	MUST(pipe(sync));
	struct sigaction sa = {.sa_handler = on_sig, .sa_flags = SA_RESTART};
	for (int *s = (int[]){SIGWINCH, SIGHUP, SIGINT, SIGTTOU, SIGTTIN, 0}; *s; s++)
		sigaction(*s, &sa, NULL);
	if (!MUST(fork())) { /* a session with a terminal: leader in the background, a job in the foreground */
		MUST(setsid()), MUST(ioctl(ctl.s, TIOCSCTTY, 0));
		keep(&ctl);
		int tty = MUST(open("/dev/tty", O_RDWR));
		pid_t job = MUST(fork());
		if (!job) {
			setpgid(0, 0);
			h_part("job");
			while (wait_check()) {
				CHECK(tcgetpgrp(ctl.s) == getpgrp() && tcgetpgrp(tty) == getpgrp() && tcgetsid(ctl.s) == getsid(0), "foreground group %d", tcgetpgrp(tty));
				put(tty, "job\n");
				put(ctl.m, "\003"); /* typed at the terminal */
				CHECK(WAIT_FOR(signals == h.check), "the interrupt character gives %d signals to the foreground", signals);
			}
			_exit(0);
		}
		if (!MUST(fork())) {
			int own = MUST(open("/dev/tty", O_RDWR));
			MUST(ioctl(own, TIOCNOTTY)), close(own);
			h_part("loner");
			while (wait_check()) {
				CHECK(h_stat("/proc/self/stat", 7) == 0 && open("/dev/tty", O_RDWR) < 0 && errno == ENXIO, "a member that gave its terminal up has one");
				put(tty, "loner\n"); /* /dev/tty from before */
			}
			_exit(0);
		}
		setpgid(job, job);
		signal(SIGTTOU, SIG_IGN);
		MUST(tcsetpgrp(ctl.s, job));
		h_part("leader");
		char text[64];
		unsigned long long dev = h_stat("/proc/self/stat", 7);
		MUST(write(sync[1], text, 1));
		while (wait_check()) {
			same(&ctl, "controlling terminal");
			CHECK(h_stat("/proc/self/stat", 7) == dev && dev && (pid_t)h_stat("/proc/self/stat", 8) == job, "the controlling terminal is %llx, foreground group %lld", h_stat("/proc/self/stat", 7), h_stat("/proc/self/stat", 8));
			CHECK(tcgetpgrp(ctl.s) == job && tcgetsid(tty) == getpid() && signals == 0, "foreground %d, session %d, %d signals", tcgetpgrp(ctl.s), tcgetsid(tty), signals);
			int again = open("/dev/tty", O_RDWR);
			CHECK(again >= 0 && !close(again), "/dev/tty: %s", strerror(errno));
		}
		_exit(0);
	}
	char c;
	MUST(read(sync[0], &c, 1));
	put(raw.m, DATA), put(raw.s, "to the master");
	put(cooked.m, "a line\nhalf a l"), put(cooked.s, "output\n");
	put(lone.m, "typed\n"); /* waits for whoever opens it; its echo for the master */
	type_lines();
	ready();

	while (wait_check()) {
		same(&raw, "raw"), same(&cooked, "cooked"), same(&lone, "lone");
		CHECK(h_flags(raw.m) == (O_RDWR | O_NONBLOCK) && fcntl(raw.m, F_GETFD) == FD_CLOEXEC && h_flags(cooked.s) == (O_RDWR | O_NONBLOCK), "flags");
		mode = 0;
		CHECK(!ioctl(raw.m, TIOCGPKT, &mode) && mode == 1 && !ioctl(cooked.m, TIOCGPKT, &mode) && mode == 0, "packet mode");
		CHECK(!ioctl(raw.m, TIOCGPTLCK, &mode) && mode == 0, "the lock");
		expect(raw.s, DATA, "raw slave");
		char buf[64] = "";
		ssize_t n = read(raw.m, buf, 63);
		if (n == 1 && buf[0]) /* a packet that tells of a change, not of data */
			n = read(raw.m, buf, 63);
		CHECK(n == 14 && buf[0] == TIOCPKT_DATA && !strcmp(buf + 1, "to the master"), "raw master reads %zd: '%s'", n, buf + 1);
		expect(cooked.s, "a line\n", "cooked slave");
		CHECK(read(cooked.s, buf, 1) < 0 && errno == EAGAIN, "half a line can be read");
		put(cooked.m, "ine\n");
		expect(cooked.s, "half a line\n", "cooked slave, the other half");
		expect(cooked.m, "output\n", "cooked master");
		char name[32];
		snprintf(name, sizeof name, "/dev/pts/%d", lone.n);
		int s = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
		CHECK(s >= 0, "%s: %s", name, strerror(errno));
		expect(s, "typed\n", "lone slave"), expect(lone.m, "typed\r\n", "lone master");
		close(s);
		h_collect("job"), h_collect("leader"), h_collect("loner");
		output(ctl.m);
		check();
		CHECK(signals == 0, "the main process got %d signals", signals);
		type_lines(), put(raw.m, DATA), put(raw.s, "to the master"), put(cooked.m, "a line\nhalf a l"), put(cooked.s, "output\n"), put(lone.m, "typed\n");
	}
	return 0;
}
