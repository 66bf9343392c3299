/*
 * State: one thing that no checkpoint can save, chosen by the first argument. It must be refused by name before
 * anything is stopped, and the program must go on as if nothing had happened.
 * Wrong could go: the thing silently dropped, refused only when the tasks stand still, or harmed by the look at it.
 */
#include "harness.h"
#include <linux/aio_abi.h>
#include <linux/bpf.h>
#include <linux/if_alg.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/seccomp.h>
#include <linux/filter.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/io.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <asm/ldt.h>

/* TRY skips where the kernel, or what the test is run in, has not got it. */
#define TRY(expr) ({ long r_ = (long)(expr); if (r_ == -1) SKIP("%s", #expr); r_; })
#define NR_MEMFD_SECRET 447
#define NR_LANDLOCK_CREATE 444
#define NR_LANDLOCK_ADD 445
#define NR_LANDLOCK_RESTRICT 446

static int fd = -1;
static void *map;
static long id;
static pid_t child;
static volatile int thread_up;

/* a child that lives as long as we do */
static pid_t spawn(void (*f)(void))
{
	int up[2];
	char c = 0;
	MUST(pipe2(up, O_CLOEXEC));
	pid_t p = MUST(fork());
	if (!p) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		f();
		(void)!write(up[1], "+", 1);
		close(up[0]), close(up[1]);
		for (;;)
			pause();
	}
	close(up[1]);
	if (read(up[0], &c, 1) != 1)
		SKIP("the child cannot");
	close(up[0]);
	return p;
}
static void alive(void)
{
	CHECK(!child || (kill(child, 0) == 0 && waitpid(child, NULL, WNOHANG) == 0), "the child is gone");
	CHECK(fd < 0 || fcntl(fd, F_GETFD) >= 0, "the descriptor is gone");
}

static void make_uring(void)
{
	struct io_uring_params p = {0};
	fd = TRY(syscall(SYS_io_uring_setup, 4, &p));
}
static void make_uring_map(void)
{
	struct io_uring_params p = {0};
	fd = TRY(syscall(SYS_io_uring_setup, 4, &p));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	if (map == MAP_FAILED)
		SKIP("map the ring");
	close(fd), fd = -1;
}
static void make_userfaultfd(void) { fd = TRY(syscall(SYS_userfaultfd, O_CLOEXEC)); }
static void make_secret(void)
{
	fd = TRY(syscall(NR_MEMFD_SECRET, 0));
	MUST(ftruncate(fd, 4096));
	map = MUST(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	strcpy(map, "secret");
}
static void check_secret(void) { CHECK(!strcmp(map, "secret"), "the memory holds %.20s", (char *)map); }
static void make_fanotify(void) { fd = TRY(fanotify_init(FAN_CLASS_NOTIF, O_RDONLY)); }
static void make_netlink(void) { fd = TRY(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER)); }
static void make_packet(void) { fd = TRY(socket(AF_PACKET, SOCK_DGRAM, 0)); }
static void make_alg(void)
{
	struct sockaddr_alg a = {.salg_family = AF_ALG, .salg_type = "hash", .salg_name = "sha256"};
	fd = TRY(socket(AF_ALG, SOCK_SEQPACKET, 0));
	TRY(bind(fd, (void *)&a, sizeof a));
}
static void make_vsock(void) { fd = TRY(socket(AF_VSOCK, SOCK_STREAM, 0)); }
static void make_perf(void)
{
	struct perf_event_attr a = {.type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_CPU_CLOCK, .size = sizeof a};
	fd = TRY(syscall(SYS_perf_event_open, &a, 0, -1, -1, 0));
}
static void make_bpf(void)
{
	union bpf_attr a = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1};
	fd = TRY(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
}
static void make_mqueue(void) { fd = TRY(mq_open("/q", O_RDWR | O_CREAT, 0600, NULL)); }
static void traced(void) { ptrace(PTRACE_TRACEME, 0, 0, 0); }
static void make_tracer(void) { child = spawn(traced); }
static void make_tun(void)
{
	mkdir("/dev/net", 0755);
	if (mknod("/dev/net/tun", S_IFCHR | 0600, 10 << 8 | 200))
		SKIP("mknod");
	fd = TRY(open("/dev/net/tun", O_RDWR));
}
static void own_pid(void)
{
	if (unshare(CLONE_NEWPID))
		_exit(1);
	pid_t p = fork();
	if (p < 0)
		_exit(1);
	if (!p) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}
static void make_pidns(void) { child = spawn(own_pid); }
static void own_pid_later(void) { if (unshare(CLONE_NEWPID)) _exit(1); }
static void make_pidns_later(void) { child = spawn(own_pid_later); }
static void own_mounts(void) { if (unshare(CLONE_NEWNS)) _exit(1); }
static void make_mntns(void) { child = spawn(own_mounts); }
static void own_net(void) { if (unshare(CLONE_NEWNET)) _exit(1); }
static void make_netns(void) { child = spawn(own_net); }
static void own_user(void) { if (unshare(CLONE_NEWUSER)) _exit(1); }
static void make_userns(void) { child = spawn(own_user); }
static void own_time(void) { if (unshare(0x80 /* CLONE_NEWTIME */)) _exit(1); }
static void make_timens_later(void) { child = spawn(own_time); }
static void *thread(void *arg)
{
	thread_up = unshare((int)(long)arg) ? -1 : 1;
	for (;;)
		pause();
	return NULL;
}
static void in_thread(int flag)
{
	pthread_t t;
	pthread_create(&t, NULL, thread, (void *)(long)flag);
	if (!WAIT_FOR(thread_up) || thread_up < 0)
		SKIP("unshare in a thread");
}
static void make_threadns(void) { in_thread(CLONE_NEWNET); }
static void make_notify(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, code};
	fd = TRY(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog));
}
static void landlocked(void)
{
	uint64_t attr = 1 << 1; /* LANDLOCK_ACCESS_FS_WRITE_FILE */
	int rules = (int)syscall(NR_LANDLOCK_CREATE, &attr, sizeof attr, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (rules < 0 || syscall(NR_LANDLOCK_RESTRICT, rules, 0))
		_exit(1);
	close(rules);
	if (open("/tmp/forbidden", O_WRONLY | O_CREAT, 0600) >= 0)
		_exit(1);
}
static void make_landlock(void) { child = spawn(landlocked); }
static void make_landlock_fd(void)
{
	uint64_t attr = 1 << 1;
	fd = TRY(syscall(NR_LANDLOCK_CREATE, &attr, sizeof attr, 0));
}
static long add_key(long ring) { return syscall(SYS_add_key, "user", "rethaw", "secret", 6, ring); }
static void make_keyring_session(void)
{
	TRY(syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, NULL));
	id = TRY(add_key(-3));
}
static void make_keyring_process(void) { id = TRY(add_key(-2)); }
static void make_keyring_thread(void) { id = TRY(add_key(-1)); }
static void check_key(void)
{
	char b[8] = {0};
	CHECK(syscall(SYS_keyctl, 11 /* READ */, id, b, 8) == 6 && !strcmp(b, "secret"), "the key has %s", b);
}
static void no_wx(void) { if (prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0)) _exit(1); }
static void make_mdwe(void) { child = spawn(no_wx); }
static void make_cookie(void) { TRY(prctl(62 /* PR_SCHED_CORE */, 1, 0, 0, 0)); }
static void make_lease(void)
{
	close(MUST(open("/tmp/lease", O_CREAT | O_RDWR, 0600)));
	fd = MUST(open("/tmp/lease", O_RDONLY));
	TRY(fcntl(fd, F_SETLEASE, F_RDLCK));
}
static void check_lease(void) { CHECK(fcntl(fd, F_GETLEASE) == F_RDLCK, "the lease is gone"); }
static void make_dnotify(void)
{
	signal(SIGIO, SIG_IGN);
	fd = MUST(open("/tmp", O_RDONLY | O_DIRECTORY));
	TRY(fcntl(fd, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
}
static void make_aio(void)
{
	aio_context_t c = 0;
	TRY(syscall(SYS_io_setup, 4, &c));
	id = (long)c;
}
static void check_aio(void)
{
	struct timespec none = {0};
	struct io_event e;
	CHECK(syscall(SYS_io_getevents, id, 0, 1, &e, &none) == 0, "the context is gone: %s", strerror(errno));
}
static void make_ldt(void)
{
	struct user_desc d = {.entry_number = 3, .base_addr = 0x1000, .limit = 5, .seg_32bit = 1};
	TRY(syscall(SYS_modify_ldt, 1, &d, sizeof d));
}
static void make_ports(void) { TRY(ioperm(0x80, 1, 1)); }
static void dispatched(void)
{
	static char allow; /* PR_SYS_DISPATCH_FILTER_ALLOW */
	if (prctl(59 /* PR_SET_SYSCALL_USER_DISPATCH */, 1, 0, 0, &allow))
		_exit(1);
}
static void make_dispatch(void) { child = spawn(dispatched); }
static void make_hidden_cwd(void)
{
	MUST(mkdir("/tmp/under", 0700));
	MUST(chdir("/tmp/under"));
	if (mount("none", "/tmp/under", "tmpfs", 0, NULL))
		SKIP("mount");
}
static void make_bind(void)
{
	MUST(mkdir("/tmp/bound", 0700));
	if (mount("/programs", "/tmp/bound", NULL, MS_BIND, NULL))
		SKIP("mount");
}
static void make_proc(void)
{
	MUST(mkdir("/tmp/proc", 0700));
	if (mount("proc", "/tmp/proc", "proc", 0, NULL))
		SKIP("mount");
}
static void make_unmounted(void) { TRY(umount2("/dev/mqueue", MNT_DETACH)); }
static void make_readonly(void) { TRY(mount(NULL, "/run", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)); }
static void make_hugetlbfs(void)
{
	MUST(mkdir("/tmp/huge", 0700));
	if (mount("none", "/tmp/huge", "hugetlbfs", 0, NULL))
		SKIP("mount");
	fd = MUST(open("/tmp/huge/file", O_RDWR | O_CREAT, 0600));
}
static void make_cgroup(void)
{
	/* the test moves the child */
	child = spawn(alive);
}

static const struct {
	const char *name;
	void (*make)(void), (*check)(void);
} modes[] = {
	{"io_uring", make_uring, alive}, {"io_uring-map", make_uring_map, alive}, {"userfaultfd", make_userfaultfd, alive},
	{"secret", make_secret, check_secret}, {"fanotify", make_fanotify, alive}, {"netlink", make_netlink, alive},
	{"packet", make_packet, alive}, {"alg", make_alg, alive}, {"vsock", make_vsock, alive}, {"perf", make_perf, alive},
	{"bpf", make_bpf, alive}, {"mqueue", make_mqueue, alive}, {"tracer", make_tracer, alive}, {"tun", make_tun, alive},
	{"pidns", make_pidns, alive}, {"pidns-later", make_pidns_later, alive}, {"mntns", make_mntns, alive},
	{"netns", make_netns, alive}, {"userns", make_userns, alive}, {"timens-later", make_timens_later, alive},
	{"thread-netns", make_threadns, alive}, {"seccomp-notify", make_notify, alive}, {"landlock", make_landlock, alive},
	{"landlock-fd", make_landlock_fd, alive}, {"keyring-session", make_keyring_session, check_key},
	{"keyring-process", make_keyring_process, check_key}, {"keyring-thread", make_keyring_thread, check_key},
	{"mdwe", make_mdwe, alive}, {"cookie", make_cookie, alive},
	{"lease", make_lease, check_lease}, {"dnotify", make_dnotify, alive}, {"aio", make_aio, check_aio},
	{"ldt", make_ldt, alive}, {"ports", make_ports, alive}, {"dispatch", make_dispatch, alive}, {"hidden-cwd", make_hidden_cwd, alive}, {"mount-bind", make_bind, alive}, {"mount-proc", make_proc, alive},
	{"unmounted", make_unmounted, alive}, {"read-only", make_readonly, alive}, {"hugetlbfs", make_hugetlbfs, alive}, {"cgroup", make_cgroup, alive},
};

int main(int argc, char **argv)
{
	size_t i = 0;
	h_init();
	while (i < sizeof modes / sizeof *modes && (argc < 2 || strcmp(argv[1], modes[i].name)))
		i++;
	if (i == sizeof modes / sizeof *modes)
		DIE("no such mode");
	modes[i].make();
	ready();
	while (wait_check())
		modes[i].check();
	return 0;
}
