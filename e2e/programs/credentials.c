/*
 * State: threads of one process with different credentials (made by raw system calls): real, effective, saved and
 * file system ids, supplementary groups, capability sets with ambient and a smaller bounding set, securebits,
 * no_new_privs; and child processes of other users.
 * Wrong could go: all threads made alike, the order (capabilities gone before the ids are set), effective set raised
 * when the uid becomes 0, ids that only differ in fsuid, ambient lost by securebits, groups sorted or cut.
 */
#include "harness.h"
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static const char *const lines[] = {"Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"};
enum { NLINES = sizeof lines / sizeof *lines };
#define BIT(c) (1u << (c))
static struct plan {
	const char *name;
	unsigned r, e, s, fs;		 /* user ids; group ids are 1000 more */
	int ngroups;
	unsigned eff, prm, inh, amb, drop; /* capabilities */
	unsigned bits;			 /* securebits */
	int nnp;
	char was[NLINES][1024];
	int bits_was, done, out;
} plans[] = {
	{"user", 1001, 1001, 1001, 1001, 3, 0, 0, 0, 0, 0, 0, 0, {{0}}, 0, 0, 0},
	{"mixed", 1001, 0, 1002, 1003, 0, BIT(CAP_KILL), BIT(CAP_KILL) | BIT(CAP_SETUID) | BIT(CAP_NET_RAW), BIT(CAP_CHOWN), 0, 0, 0, 0, {{0}}, 0, 0, 0},
	{"keeper", 1005, 1005, 1005, 1005, 60, BIT(CAP_NET_RAW), BIT(CAP_NET_RAW) | BIT(CAP_CHOWN), BIT(CAP_NET_RAW), BIT(CAP_NET_RAW), BIT(CAP_MKNOD), 0, 0, {{0}}, 0, 0, 0},
	{"secure", 0, 0, 0, 0, 1, BIT(CAP_CHOWN), BIT(CAP_CHOWN), 0, 0, BIT(CAP_SYS_CHROOT) | BIT(CAP_SETFCAP), SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP, 1, {{0}}, 0, 0, 0},
	{"noambient", 0, 1007, 0, 1007, 2, 0, BIT(CAP_SETUID), BIT(CAP_SETUID), 0, 0, SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_KEEP_CAPS, 0, {{0}}, 0, 0, 0},
	{"nocaps", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED, 0, {{0}}, 0, 0, 0},
};
enum { N = sizeof plans / sizeof *plans };
static int round_no;

static void take(char out[NLINES][1024])
{
	for (int i = 0; i < NLINES; i++)
		h_field("/proc/thread-self/status", lines[i], out[i], 1024);
}
static void become(struct plan *p)
{
	unsigned groups[64];
	struct __user_cap_header_struct hdr = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {{0}};
	for (int i = 0; i < p->ngroups; i++)
		groups[i] = 2000u + (unsigned)i * 7919u;
	for (int c = 0; c < 32; c++)
		if (p->drop & BIT(c))
			MUST(prctl(PR_CAPBSET_DROP, c));
	MUST(syscall(SYS_setgroups, p->ngroups, groups));
	MUST(syscall(SYS_setresgid, p->r + 1000, p->e + 1000, p->s + 1000));
	syscall(SYS_setfsgid, p->fs + 1000);
	MUST(prctl(PR_SET_KEEPCAPS, 1));
	MUST(prctl(PR_SET_SECUREBITS, p->bits | SECBIT_KEEP_CAPS | SECBIT_NO_SETUID_FIXUP));
	MUST(syscall(SYS_setresuid, p->r, p->e, p->s));
	syscall(SYS_setfsuid, p->fs);
	/* the wanted set, and what is needed to get there */
	data[0].effective = data[0].permitted = p->prm | BIT(CAP_SETPCAP);
	data[0].inheritable = p->inh;
	MUST(syscall(SYS_capset, &hdr, data));
	for (int c = 0; c < 32; c++)
		if (p->amb & BIT(c))
			MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0));
	MUST(prctl(PR_SET_SECUREBITS, p->bits));
	if (p->nnp)
		MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	data[0].effective = p->eff, data[0].permitted = p->prm;
	MUST(syscall(SYS_capset, &hdr, data));
}
static void look(struct plan *p)
{
	char now[NLINES][1024];
	unsigned r, e, s;
	take(now);
	for (int i = 0; i < NLINES; i++)
		CHECK(!strcmp(now[i], p->was[i]), "%s: %s was %.150s, is %.150s", p->name, lines[i], p->was[i], now[i]);
	CHECK(!syscall(SYS_getresuid, &r, &e, &s) && r == p->r && e == p->e && s == p->s, "%s: uids %u %u %u", p->name, r, e, s);
	CHECK(!syscall(SYS_getresgid, &r, &e, &s) && r == p->r + 1000 && e == p->e + 1000 && s == p->s + 1000, "%s: gids %u %u %u", p->name, r, e, s);
	CHECK((unsigned)syscall(SYS_setfsuid, -1) == p->fs && (unsigned)syscall(SYS_setfsgid, -1) == p->fs + 1000, "%s: file system ids", p->name);
	CHECK(prctl(PR_GET_SECUREBITS) == p->bits_was, "%s: securebits %x, were %x", p->name, prctl(PR_GET_SECUREBITS), p->bits_was);
	CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == p->nnp, "%s: no_new_privs", p->name);
	for (int c = 0; c < 32; c++) /* 0 or 1, and the bounding set */
		CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == !!(p->amb & BIT(c)) && !(prctl(PR_CAPBSET_READ, c) == 1 && (p->drop & BIT(c))), "%s: capability %d", p->name, c);
}
static void *holder(void *arg)
{
	struct plan *p = arg;
	become(p);
	take(p->was);
	p->bits_was = prctl(PR_GET_SECUREBITS);
	__atomic_store_n(&p->done, 1, __ATOMIC_SEQ_CST);
	for (;; h_sleep(5 * MS)) {
		if (p->done - 1 == __atomic_load_n(&round_no, __ATOMIC_SEQ_CST))
			continue;
		look(p);
		__atomic_add_fetch(&p->done, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

int main(void)
{
	static struct plan self = {.name = "main", .ngroups = 0};
	int ask[N][2], tell[N][2];
	pid_t kids[N];
	h_init();
	for (int i = 0; i < N; i++) { /* the same as processes; they may not write to the state directory: by pipe */
		MUST(pipe(ask[i])), MUST(pipe(tell[i]));
		if (!(kids[i] = MUST(fork()))) {
			struct plan *p = &plans[i];
			char c;
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (int n = 0; n < i; n++)
				close(ask[n][1]);
			close(ask[i][1]);
			become(p);
			take(p->was);
			p->bits_was = prctl(PR_GET_SECUREBITS);
			if (write(tell[i][1], "", 1) != 1)
				_exit(1);
			while (read(ask[i][0], &c, 1) == 1) {
				h.fail[0] = 0;
				look(p);
				if (write(tell[i][1], h.fail, strlen(h.fail) + 1) < 0)
					_exit(2);
			}
			_exit(0);
		}
		char c;
		if (read(tell[i][0], &c, 1) != 1)
			DIE("child %s", plans[i].name);
	}
	for (int i = 0; i < N; i++) {
		pthread_t t;
		if (pthread_create(&t, NULL, holder, &plans[i]) || !WAIT_FOR(__atomic_load_n(&plans[i].done, __ATOMIC_SEQ_CST)))
			DIE("thread %s", plans[i].name);
	}
	take(self.was);
	ready();

	while (wait_check()) {
		char now[NLINES][1024], text[sizeof h.fail];
		take(now);
		for (int i = 0; i < NLINES; i++)
			CHECK(!strcmp(now[i], self.was[i]), "main: %s was %.100s, is %.100s", lines[i], self.was[i], now[i]);
		__atomic_add_fetch(&round_no, 1, __ATOMIC_SEQ_CST);
		for (int i = 0; i < N; i++) {
			CHECK(WAIT_FOR(__atomic_load_n(&plans[i].done, __ATOMIC_SEQ_CST) == round_no + 1), "thread %s does not answer", plans[i].name);
			ssize_t n = 0;
			CHECK(write(ask[i][1], "?", 1) == 1 && (n = read(tell[i][0], text, sizeof text - 1)) > 0, "child %s does not answer", plans[i].name);
			text[n > 0 ? n : 0] = 0;
			CHECK(!text[0], "child: %.400s", text);
		}
	}
	for (int i = 0; i < N; i++)
		kill(kids[i], SIGKILL);
	return 0;
}
