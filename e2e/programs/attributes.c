/*
 * State: settings that few programs change: registrations of membarrier, memory merged by KSM, huge pages disabled but
 * for areas that ask, the policy of memory errors, NUMA policies of a thread and of areas, a nice value of the
 * session's autogroup, SCHED_DEADLINE, a time slice, sealed memory.
 * Wrong could go: each of them dropped without a word. A membarrier that is not registered any more fails in the middle
 * of a garbage collection; the others show in /proc alone.
 */
#include "harness.h"
#include <linux/membarrier.h>
#include <linux/mempolicy.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define NR_MSEAL 462
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};
static struct shot {
	long barrier, merge, thp, mce;
	int mode, area_mode, shared_mode;
	unsigned long nodes, area_nodes;
	char group[64], ksm[64];
	struct attr sched;
} was, now;
static char *area, *shared, *sealed;

static void take(struct shot *s)
{
	memset(s, 0, sizeof *s);
	long registered = syscall(SYS_membarrier, 1 << 9 /* GET_REGISTRATIONS, since Linux 6.3 */, 0, 0);
	s->barrier = registered < 0 ? 0 : registered;
	s->merge = prctl(68 /* PR_GET_MEMORY_MERGE */, 0, 0, 0, 0);
	s->thp = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	s->mce = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
	syscall(SYS_get_mempolicy, &s->mode, &s->nodes, 64, 0, 0);
	syscall(SYS_get_mempolicy, &s->area_mode, &s->area_nodes, 64, area, MPOL_F_ADDR);
	syscall(SYS_get_mempolicy, &s->shared_mode, NULL, 0, shared, MPOL_F_ADDR);
	char *nice;
	h_slurp("/proc/self/autogroup", s->group, sizeof s->group);
	if ((nice = strstr(s->group, " nice ")))
		memmove(s->group, nice, strlen(nice) + 1);
	h_field("/proc/self/ksm_stat", "ksm_merge_any", s->ksm, sizeof s->ksm);
	syscall(SYS_sched_getattr, 0, &s->sched, sizeof s->sched, 0);
}
static void compare(void)
{
	take(&now);
	CHECK(now.barrier == was.barrier, "registered for membarrier %lx, was %lx", now.barrier, was.barrier);
	CHECK(now.merge == was.merge && !strcmp(now.ksm, was.ksm), "memory merge %ld %s, was %ld %s", now.merge, now.ksm, was.merge, was.ksm);
	CHECK(now.thp == was.thp, "huge pages disabled %ld, was %ld", now.thp, was.thp);
	CHECK(now.mce == was.mce, "memory errors %ld, was %ld", now.mce, was.mce);
	CHECK(now.mode == was.mode && now.nodes == was.nodes, "policy %x of %lx, was %x of %lx", now.mode, now.nodes, was.mode, was.nodes);
	CHECK(now.area_mode == was.area_mode && now.area_nodes == was.area_nodes, "policy of the area %x of %lx, was %x of %lx", now.area_mode, now.area_nodes, was.area_mode, was.area_nodes);
	CHECK(now.shared_mode == was.shared_mode, "policy of the shared area %x, was %x", now.shared_mode, was.shared_mode);
	CHECK(!strcmp(now.group, was.group), "autogroup%s, was%s", now.group, was.group);
	CHECK(!memcmp(&now.sched, &was.sched, sizeof now.sched), "policy %u, runtime %lu deadline %lu period %lu; were %u, %lu %lu %lu", now.sched.policy,
	      now.sched.runtime, now.sched.deadline, now.sched.period, was.sched.policy, was.sched.runtime, was.sched.deadline, was.sched.period);
	if (was.barrier & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
		CHECK(!syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0), "membarrier: %s", strerror(errno));
}
static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd >= 0)
		(void)!write(fd, text, strlen(text)), close(fd);
}

int main(void)
{
	unsigned long node = 1;
	h_init();
	put("/proc/self/autogroup", "-5");
	if (!MUST(fork())) { /* as a deadline task: it can have nothing else */
		struct attr a = {.size = sizeof a, .policy = 6, .runtime = 20000000, .deadline = 50000000, .period = 100000000};
		if (syscall(SYS_sched_setattr, 0, &a, 0))
			fprintf(stderr, "no SCHED_DEADLINE: %s\n", strerror(errno));
		take(&was);
		h_part("deadline");
		while (wait_check())
			compare();
		_exit(0);
	}
	if (!MUST(fork())) { /* a time slice, and nothing of what its parent gets later */
		struct attr a = {.size = sizeof a, .policy = 0, .nice = 3, .runtime = 10000000};
		MUST(syscall(SYS_sched_setattr, 0, &a, 0));
		MUST(setsid());
		put("/proc/self/autogroup", "7");
		take(&was);
		h_part("slice");
		while (wait_check())
			compare();
		_exit(0);
	}
	MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
	syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
	area = MUST(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	shared = MUST(mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	syscall(SYS_mbind, area + 8192, 8192, MPOL_BIND | MPOL_F_STATIC_NODES, &node, 64, 0);
	syscall(SYS_mbind, shared, 1 << 20, MPOL_INTERLEAVE, &node, 64, 0);
	memset(area, 'a', 1 << 20), memset(shared, 's', 1 << 20);
	area += 8192;
	syscall(SYS_set_mempolicy, MPOL_PREFERRED, &node, 64);
	prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
	if (prctl(PR_SET_THP_DISABLE, 1, 2 /* EXCEPT_ADVISED */, 0, 0))
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
	sealed = MUST(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	strcpy(sealed, "sealed");
	int seals = !syscall(NR_MSEAL, sealed, 8192, 0);
	take(&was);
	ready();
	while (wait_check()) {
		compare();
		CHECK(area[0] == 'a' && shared[0] == 's' && !strcmp(sealed, "sealed"), "the memory has changed");
		CHECK(!seals || (mprotect(sealed, 8192, PROT_READ) == -1 && errno == EPERM), "the seal is broken");
		h_collect("deadline"), h_collect("slice");
	}
	return 0;
}
