/*
 * State: the vdso and its data pages moved elsewhere by mremap, each mapping to a place of its own choice with the
 * distances kept, as a program may that was restored or linked to a sandbox before; the C library knows nothing of it.
 * Wrong could go: the vdso back at its old or at a random address, its data pages left behind (its functions then crash
 * or fall back), AT_SYSINFO_EHDR, something else mapped where it has to go.
 */
#include "elfsymbol.h"
#include <sys/auxv.h>

struct part { unsigned long from, to, now; char name[32]; };
static struct part parts[8];
static int nparts;
static int (*clock_fn)(clockid_t, struct timespec *);
static int (*cpu_fn)(unsigned *, unsigned *, void *);

static int find(struct part *p)
{
	static char text[1 << 16];
	int n = 0;
	h_slurp("/proc/self/maps", text, sizeof text);
	for (char *l = strtok(text, "\n"); l; l = strtok(NULL, "\n"))
		if (strstr(l, "[vvar") || strstr(l, "[vdso]")) {
			sscanf(l, "%lx-%lx", &p[n].from, &p[n].to);
			snprintf(p[n++].name, 32, "%s", strchr(l, '['));
		}
	return n;
}
int main(void)
{
	unsigned long old = getauxval(AT_SYSINFO_EHDR), low = ~0UL, high = 0, vdso = 0;
	struct part now[8];
	h_init();
	nparts = find(parts);
	if (!nparts || !old)
		SKIP("no vdso");
	for (int i = 0; i < nparts; i++)
		low = parts[i].from < low ? parts[i].from : low, high = parts[i].to > high ? parts[i].to : high;
	char *room = MUST(mmap(NULL, high - low + 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) + 32 * 4096;
	for (int i = 0; i < nparts; i++) {
		struct part *p = &parts[i];
		p->now = (unsigned long)room + p->from - low;
		if (syscall(SYS_mremap, p->from, p->to - p->from, p->to - p->from, MREMAP_MAYMOVE | MREMAP_FIXED, p->now) != (long)p->now) {
			if (errno == EPERM)
				SKIP("the kernel seals the vdso");
			DIE("mremap %s", p->name);
		}
		if (!strcmp(p->name, "[vdso]"))
			vdso = p->now;
	}
	/* something else takes the old place */
	char *squatter = MUST(mmap((void *)low, high - low, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
	fill(squatter, high - low, 1);
	*(void **)&clock_fn = symbol(vdso, "__vdso_clock_gettime"), *(void **)&cpu_fn = symbol(vdso, "__vdso_getcpu");
	if (!clock_fn || !cpu_fn)
		DIE("symbols of the vdso");
	ready();
	while (wait_check()) {
		int n = find(now);
		CHECK(n == nparts, "%d mappings of the vdso, not %d", n, nparts);
		for (int i = 0; i < n && i < nparts; i++)
			CHECK(now[i].from == parts[i].now && !strcmp(now[i].name, parts[i].name), "%s is at %lx, not at %lx", now[i].name, now[i].from, parts[i].now);
		CHECK(verify(squatter, high - low, 1) < 0, "the memory at the vdso's old place");
		CHECK(getauxval(AT_SYSINFO_EHDR) == old, "the auxiliary vector changed");
		for (int *c = (int[]){CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_MONOTONIC_COARSE, -1}; *c >= 0 && !memcmp((void *)vdso, "\177ELF", 4); c++) {
			struct timespec t = {0, 0};
			int64_t a = h_clock(*c), b = (clock_fn(*c, &t), t.tv_sec * SEC + t.tv_nsec), d = h_clock(*c);
			CHECK(a <= b && b <= d, "the vdso's clock %d says %lld, between %lld and %lld", *c, (long long)b, (long long)a, (long long)d);
		}
		unsigned cpu = 9999, node;
		CHECK(!cpu_fn(&cpu, &node, NULL) && cpu < 4096, "the vdso's getcpu: %u", cpu);
	}
	return 0;
}
