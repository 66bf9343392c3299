/*
 * State: children in seccomp's strict mode: read, write, exit and sigreturn are all that they may do. One waits in
 * read, one computes and never calls.
 * Wrong could go: the mode left (any other call must kill), or the child killed by what a saver or restorer injects, since
 * nothing of that is among the four calls.
 */
#include "harness.h"
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int mode(pid_t p)
{
	char path[64], text[16];
	snprintf(path, sizeof path, "/proc/%d/status", p);
	return h_field(path, "Seccomp", text, sizeof text) ? atoi(text) : -1;
}
static void restrict_self(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		_exit(9);
}
/* echo answers each byte with the next one; a '!' makes it do what it may not */
static pid_t echo(int in, int out)
{
	pid_t p = MUST(fork());
	if (!p) {
		char c;
		restrict_self();
		while (syscall(SYS_read, in, &c, 1) == 1) {
			if (c == '!')
				syscall(SYS_getpid); /* must kill */
			c++;
			syscall(SYS_write, out, &c, 1);
		}
		syscall(SYS_exit, 0);
	}
	return p;
}

int main(void)
{
	int ask[2], tell[2], st;
	char c;
	h_init();
	char text[16];
	if (h_field("/proc/self/status", "Seccomp", text, sizeof text) && strcmp(text, "0"))
		DIE("a filter of the runtime forbids strict mode");
	volatile uint64_t *steps = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	MUST(pipe(ask)), MUST(pipe(tell));
	pid_t reader = echo(ask[0], tell[1]);
	pid_t computer = MUST(fork());
	if (!computer) {
		restrict_self();
		for (uint64_t x = h.nonce;; steps[0]++)
			for (int i = 0; i < 1000; i++) {
				x = x * 6364136223846793005ULL + 1;
				asm volatile("pause" : "+r"(x));
			}
	}
	MUST(setpriority(PRIO_PROCESS, (id_t)computer, 19));
	if (!WAIT_FOR(mode(reader) == 1 && mode(computer) == 1 && steps[0]))
		DIE("strict mode");
	ready();
	while (wait_check()) {
		CHECK(mode(reader) == 1 && mode(computer) == 1, "the children are in modes %d and %d", mode(reader), mode(computer));
		CHECK(write(ask[1], "a", 1) == 1 && read(tell[0], &c, 1) == 1 && c == 'b', "the reader answers %d", c);
		uint64_t n = steps[0];
		CHECK(WAIT_FOR(steps[0] != n), "the other does not go on");
		CHECK(waitpid(-1, &st, WNOHANG) == 0, "a child has ended: %x", st);
		CHECK(write(ask[1], "!", 1) == 1 && waitpid(reader, &st, 0) == reader && WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "the forbidden call did not kill: %x", st);
		reader = echo(ask[0], tell[1]);
		CHECK(WAIT_FOR(mode(reader) == 1), "a new child in strict mode");
	}
	kill(reader, SIGKILL), kill(computer, SIGKILL);
	return 0;
}
