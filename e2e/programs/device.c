/*
 * State: character devices without state of their own: null, zero, full, random, urandom, with flags, positions where
 * they have them, dups and O_PATH; /dev/zero mapped; opened by another name (a node made by mknod).
 * Wrong could go: the wrong device behind a descriptor, flags, sharing, a device reopened by the name of another.
 */
#include "harness.h"
#include <sys/sysmacros.h>

struct dev { const char *path; int flags; unsigned minor; int fd, dup; };
static struct dev devs[] = {
	{"/dev/null", O_RDWR, 3, 0, 0},	      {"/dev/null", O_WRONLY | O_APPEND, 3, 0, 0}, {"/dev/zero", O_RDONLY | O_NONBLOCK, 5, 0, 0},
	{"/dev/full", O_RDWR | O_SYNC, 7, 0, 0}, {"/dev/random", O_RDONLY, 8, 0, 0},	   {"/dev/urandom", O_RDWR | O_NONBLOCK, 9, 0, 0},
	{"/dev/null", O_PATH, 3, 0, 0},	      {NULL, O_RDWR, 5, 0, 0},
};
enum { N = sizeof devs / sizeof *devs };

int main(void)
{
	char node[64], link[300], proc[64];
	static char buf[4096], zero[4096];
	h_init();
	snprintf(node, sizeof node, "/tmp/device.%d", getpid());
	if (mknod(node, S_IFCHR | 0666, makedev(1, 5)))
		DIE("mknod %s", node);
	for (int i = 0; i < N; i++) {
		if (!devs[i].path)
			devs[i].path = node;
		devs[i].fd = open(devs[i].path, devs[i].flags);
		if (devs[i].fd < 0 && devs[i].path == node && (errno == EACCES || errno == EPERM)) /* a tmpfs with nodev */
			devs[i].path = "/dev/zero", devs[i].fd = MUST(open("/dev/zero", devs[i].flags));
		if (devs[i].fd < 0)
			DIE("open %s", devs[i].path);
		devs[i].dup = MUST(fcntl(devs[i].fd, F_DUPFD_CLOEXEC, 100));
	}
	char *map = MUST(mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, devs[7].fd, 0)); /* shared memory, in fact */
	fill(map, 4096, 1);
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			struct dev *d = &devs[i];
			struct stat st;
			CHECK(!fstat(d->fd, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, d->minor), "%s is device %x", d->path, (unsigned)st.st_rdev);
			CHECK(h_flags(d->fd) == d->flags && h_flags(d->dup) == d->flags, "%s: flags %o", d->path, h_flags(d->fd));
			CHECK(fcntl(d->fd, F_GETFD) == 0 && fcntl(d->dup, F_GETFD) == FD_CLOEXEC, "%s: close-on-exec", d->path);
			snprintf(proc, sizeof proc, "/proc/self/fd/%d", d->fd);
			memset(link, 0, sizeof link);
			CHECK(readlink(proc, link, sizeof link - 1) > 0 && !strcmp(link, d->path), "%s: its name is %s", d->path, link);
			if (!(d->flags & O_PATH)) { /* flags are common to dups and to nothing else */
				fcntl(d->dup, F_SETFL, h_flags(d->dup) ^ O_NONBLOCK);
				CHECK(h_flags(d->fd) == (d->flags ^ O_NONBLOCK), "%s: the dup is another description", d->path);
				fcntl(d->dup, F_SETFL, d->flags);
			}
		}
		CHECK(read(devs[0].fd, buf, 10) == 0 && write(devs[1].fd, buf, 10) == 10, "null");
		memset(buf, 1, sizeof buf);
		CHECK(read(devs[2].fd, buf, sizeof buf) == sizeof buf && !memcmp(buf, zero, sizeof buf), "zero");
		CHECK(write(devs[3].fd, buf, 1) < 0 && errno == ENOSPC, "full");
		CHECK(read(devs[4].fd, buf, 16) == 16 && read(devs[5].fd, buf + 16, 16) == 16 && memcmp(buf, buf + 16, 16), "random");
		CHECK(read(devs[6].fd, buf, 1) < 0 && errno == EBADF, "O_PATH of null can be read");
		CHECK(verify(map, 4096, 1) < 0 && !memcmp(map + 4096, zero, 4096), "the shared map of /dev/zero");
	}
	return unlink(node) ? 1 : 0;
}
