/*
 * State: host name and domain name of the container, which the harness gives it in its configuration, as a program sees
 * them (changing them needs CAP_SYS_ADMIN, which a container does not have by default; where it has, they are changed).
 * Wrong could go: the name of the host, or that of the fresh container's configuration, shows after restore.
 */
#include "harness.h"
#include <sys/utsname.h>

int main(void)
{
	struct utsname was, now;
	char host[65], file[80];
	h_init();
	snprintf(host, sizeof host, "h%016llx", (unsigned long long)h.nonce);
	if (!getenv("STATE_DIR")) { /* in a container of its own only: this is the machine's name elsewhere */
		if (sethostname(host, strlen(host)) && errno != EPERM)
			DIE("sethostname");
		if (setdomainname("some.domain", 11) && errno != EPERM)
			DIE("setdomainname");
	}
	MUST(uname(&was));
	ready();
	while (wait_check()) {
		CHECK(!uname(&now) && !strcmp(now.nodename, was.nodename), "the host name is %s, was %s", now.nodename, was.nodename);
		CHECK(!strcmp(now.domainname, was.domainname), "the domain name is %s, was %s", now.domainname, was.domainname);
		CHECK(!strcmp(now.release, was.release) && !strcmp(now.version, was.version) && !strcmp(now.machine, was.machine), "the kernel is %s %s %s", now.release, now.version, now.machine);
		CHECK(!gethostname(host, sizeof host) && !strcmp(host, was.nodename), "gethostname: %s", host);
		ssize_t n = h_slurp("/proc/sys/kernel/hostname", file, sizeof file);
		CHECK(n > 0 && !strncmp(file, was.nodename, strlen(was.nodename)) && file[strlen(was.nodename)] == '\n', "/proc/sys/kernel/hostname: %s", file);
	}
	return 0;
}
