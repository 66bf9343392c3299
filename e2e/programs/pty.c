/*
 * State: a pseudo terminal pair of the container's own: termios, window size, data in both directions, packet mode, an
 * exclusive and a locked slave, a session that has it as its controlling terminal with a foreground and a background
 * group, and a pair whose slave nobody has open.
 * Wrong could go: the number of the pair, settings, a line that was typed but not yet ended, the controlling terminal
 * and foreground group, SIGWINCH or SIGHUP sent by the restore.
 */
#include "harness.h"
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
	for (int i = 0; i < 200 && n < want; i++, h_sleep(MS)) {
		ssize_t r = read(fd, buf + n, sizeof buf - 1 - (size_t)n);
		n += r > 0 ? r : 0;
	}
	CHECK(n == want && !strcmp(buf, t), "%s reads '%s', not '%s'", who, buf, t);
}

int main(void)
{
	struct pair raw, cooked, lone, ctl;
	int mode, sync[2];
	h_init();
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
	put(raw.m, "to the slave"), put(raw.s, "to the master");
	put(cooked.m, "a line\nhalf a l"), put(cooked.s, "output\n");
	put(lone.m, "typed\n"); /* waits for whoever opens it; its echo for the master */
	ready();

	while (wait_check()) {
		same(&raw, "raw"), same(&cooked, "cooked"), same(&lone, "lone");
		CHECK(h_flags(raw.m) == (O_RDWR | O_NONBLOCK) && fcntl(raw.m, F_GETFD) == FD_CLOEXEC && h_flags(cooked.s) == (O_RDWR | O_NONBLOCK), "flags");
		mode = 0;
		CHECK(!ioctl(raw.m, TIOCGPKT, &mode) && mode == 1 && !ioctl(cooked.m, TIOCGPKT, &mode) && mode == 0, "packet mode");
		CHECK(!ioctl(raw.m, TIOCGPTLCK, &mode) && mode == 0, "the lock");
		expect(raw.s, "to the slave", "raw slave");
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
		h_collect("job"), h_collect("leader");
		expect(ctl.m, "job\r\n^C", "controlling master");
		CHECK(signals == 0, "the main process got %d signals", signals);
		put(raw.m, "to the slave"), put(raw.s, "to the master"), put(cooked.m, "a line\nhalf a l"), put(cooked.s, "output\n"), put(lone.m, "typed\n");
	}
	return 0;
}
