/*
 * State: descriptors 0, 1 and 2 as the runtime made them: a file on the host, a pipe, /dev/null or a terminal. The program
 * writes "out NONCE N" and "err NONCE N" at every check; when the input is a terminal or a pipe it echoes its lines as
 * "in NONCE LINE". The test reads the other ends: after a restore they are the fresh container's. The program also has
 * 1 under another number, /dev/stdout and /dev/stderr opened anew, with flags of their own, and a child that has them
 * all and 2 at 0; through the new ones it writes "again NONCE N" and "child NONCE N".
 * Wrong could go: output into the old container's log or nowhere, a terminal that controls no more, its settings and
 * size, 1 and 2 that were one description and are two, one that was two and is one, a flag, a position.
 */
#include "harness.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

static struct kind { mode_t mode; int tty, flags, cloexec; struct termios t; struct winsize w; pid_t group, session; } was[3], now[3];

static void look(struct kind *k)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;
		memset(&k[fd], 0, sizeof k[fd]);
		k[fd].mode = fstat(fd, &st) ? 0 : st.st_mode & S_IFMT;
		k[fd].flags = h_flags(fd), k[fd].cloexec = fcntl(fd, F_GETFD);
		if ((k[fd].tty = isatty(fd))) {
			tcgetattr(fd, &k[fd].t), ioctl(fd, TIOCGWINSZ, &k[fd].w);
			k[fd].group = tcgetpgrp(fd), k[fd].session = tcgetsid(fd);
		}
	}
}

static int same_file(int a, int b) { return syscall(SYS_kcmp, getpid(), getpid(), 0 /* KCMP_FILE */, a, b) == 0; }

int main(void)
{
	char line[512];
	h_init();
	if (isatty(0)) { /* settings of its own, which a restore must bring to the fresh terminal */
		struct termios t;
		MUST(tcgetattr(0, &t));
		t.c_lflag &= ~(tcflag_t)ECHO, t.c_cc[VINTR] = 'Y' - 64, t.c_iflag |= IUTF8;
		MUST(tcsetattr(0, TCSANOW, &t));
		MUST(ioctl(0, TIOCSWINSZ, &((struct winsize){33, 111, 0, 0})));
	}
	MUST(fcntl(2, F_SETFL, fcntl(2, F_GETFL) | O_NONBLOCK));
	int twin = MUST(fcntl(1, F_DUPFD_CLOEXEC, 20)), again = MUST(open("/dev/stdout", O_WRONLY | O_APPEND | O_NONBLOCK)), err = MUST(open("/dev/stderr", O_WRONLY | O_APPEND));
	look(was);
	int same = same_file(1, 2);
	pid_t parent = getpid();
	if (!MUST(fork())) {
		MUST(dup2(2, 0));
		h_part("child");
		while (wait_check()) {
			CHECK(syscall(SYS_kcmp, parent, getpid(), 0, 2, 0) == 0 && syscall(SYS_kcmp, parent, getpid(), 0, err, err) == 0, "the child's descriptions are its own");
			snprintf(line, sizeof line, "child %016llx %d\n", (unsigned long long)h.nonce, h.check);
			CHECK(write(err, line, strlen(line)) == (ssize_t)strlen(line), "write to /dev/stderr: %s", strerror(errno));
		}
		_exit(0);
	}
	ready();
	while (wait_check()) {
		CHECK(same_file(1, twin) && !same_file(1, again) && !same_file(2, err) && !same_file(1, err) && !same_file(again, err), "descriptions are shared that were not, or not that were");
		CHECK(h_flags(again) == (O_WRONLY | O_APPEND | O_NONBLOCK) && h_flags(err) == (O_WRONLY | O_APPEND), "flags of those opened anew %o %o", h_flags(again), h_flags(err));
		h_collect("child"); /* before any write with O_NONBLOCK: a terminal that another task is writing to says EAGAIN (tty_write_lock in drivers/tty/tty_io.c) */
		snprintf(line, sizeof line, "again %016llx %d\n", (unsigned long long)h.nonce, h.check);
		CHECK(write(again, line, strlen(line)) == (ssize_t)strlen(line), "write to /dev/stdout: %s", strerror(errno));
		look(now);
		for (int fd = 0; fd < 3; fd++) {
			struct kind *a = &was[fd], *b = &now[fd];
			CHECK(a->mode == b->mode && a->tty == b->tty, "descriptor %d is of kind %o, was %o", fd, b->mode, a->mode);
			CHECK(a->flags == b->flags && a->cloexec == b->cloexec, "descriptor %d: flags %o, were %o", fd, b->flags, a->flags);
			CHECK(!memcmp(&a->w, &b->w, sizeof a->w), "descriptor %d: window %dx%d, was %dx%d", fd, b->w.ws_col, b->w.ws_row, a->w.ws_col, a->w.ws_row);
			CHECK(a->t.c_iflag == b->t.c_iflag && a->t.c_oflag == b->t.c_oflag && a->t.c_cflag == b->t.c_cflag && a->t.c_lflag == b->t.c_lflag && !memcmp(a->t.c_cc, b->t.c_cc, 19), "descriptor %d: termios", fd);
			CHECK(a->group == b->group && a->session == b->session, "descriptor %d: foreground group %d session %d, were %d %d", fd, b->group, b->session, a->group, a->session);
		}
		if (was[0].tty) {
			int tty = open("/dev/tty", O_RDWR);
			CHECK(tty >= 0 && !close(tty), "the terminal controls no more: %s", strerror(errno));
		}
		CHECK(same_file(1, 2) == same, "1 and 2 are %s description", same ? "no longer one" : "now one");
		snprintf(line, sizeof line, "out %016llx %d\n", (unsigned long long)h.nonce, h.check);
		CHECK(write(1, line, strlen(line)) == (ssize_t)strlen(line), "write to 1: %s", strerror(errno));
		memcpy(line, "err", 3);
		CHECK(write(2, line, strlen(line)) == (ssize_t)strlen(line), "write to 2: %s", strerror(errno));
		struct pollfd p = {0, POLLIN, 0};
		if (!S_ISREG(was[0].mode) && !(S_ISCHR(was[0].mode) && !was[0].tty) && poll(&p, 1, 2000) == 1 && (p.revents & POLLIN)) {
			char out[700];
			ssize_t n = read(0, line, sizeof line - 1);
			line[n > 0 ? n : 0] = 0;
			snprintf(out, sizeof out, "in %016llx %s", (unsigned long long)h.nonce, line);
			CHECK(n <= 0 || write(1, out, strlen(out)) > 0, "echo: %s", strerror(errno));
		}
	}
	return 0;
}
