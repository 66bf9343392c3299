/*
 * State: regular files and directories: positions, status flags, descriptions shared by dup and by fork, O_PATH,
 * a directory read half way, close-on-exec, a high descriptor number.
 * Wrong could go: shared descriptions split or separate ones joined, positions of O_APPEND files, flags that only
 * F_SETFL can set, an O_PATH descriptor reopened for reading, a directory that starts over.
 */
#include "harness.h"
#include <dirent.h>
#include <sys/wait.h>

static char base[128], text[4096];

static int make(const char *name, int fl)
{
	char path[200];
	snprintf(path, sizeof path, "%s/%s", base, name);
	int fd = MUST(open(path, O_RDWR | O_CREAT, 0640));
	fill(text, sizeof text, 7);
	MUST(pwrite(fd, text, sizeof text, 0));
	close(fd);
	return MUST(open(path, fl));
}
static off_t pos(int fd) { return lseek(fd, 0, SEEK_CUR); }
#define fl h_flags
static void same(int fd, const char *name)
{
	char path[200], link[200] = "", proc[64];
	snprintf(path, sizeof path, "%s/%s", base, name);
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	CHECK(readlink(proc, link, sizeof link - 1) > 0 && !strcmp(link, path), "%s: the descriptor is %s", name, link);
}
static int names(int fd, int *seen)
{
	char ents[2048];
	int n = 0;
	for (long r; (r = syscall(SYS_getdents64, fd, ents, sizeof ents)) > 0;)
		for (long off = 0; off < r; n++) {
			struct dirent64 *d = (void *)(ents + off);
			int i;
			if (sscanf(d->d_name, "entry%d", &i) == 1)
				seen[i]++;
			off += d->d_reclen;
		}
	return n;
}

int main(void)
{
	snprintf(base, sizeof base, "/tmp/regular.%d", getpid());
	MUST(mkdir(base, 0755));
	h_init();
	int ro = make("ro", O_RDONLY), rw = make("rw", O_RDWR | O_CLOEXEC), app = make("append", O_WRONLY | O_APPEND);
	int sync = make("sync", O_WRONLY | O_SYNC), dsync = make("dsync", O_WRONLY | O_DSYNC), na = make("noatime", O_RDONLY | O_NOATIME);
	int nb = make("nonblock", O_RDONLY | O_NONBLOCK), nofollow = make("nofollow", O_RDONLY | O_NOFOLLOW);
	MUST(lseek(ro, 1000, SEEK_SET));
	MUST(lseek(rw, 5000000000LL, SEEK_SET)); /* beyond 4 GB, beyond the end */
	MUST(lseek(app, 17, SEEK_SET));
	MUST(lseek(sync, 4096, SEEK_SET));
	int copy = MUST(dup(ro)), high = MUST(fcntl(ro, F_DUPFD_CLOEXEC, 900)), other = make("ro", O_RDONLY);
	MUST(lseek(other, 3, SEEK_SET));
	MUST(fcntl(other, F_SETFL, O_APPEND | O_NOATIME)); /* flags set after the opening */
	char path[200];
	snprintf(path, sizeof path, "%s/ro", base);
	int opath = MUST(open(path, O_PATH)), dir, opathdir = MUST(open(base, O_PATH | O_DIRECTORY));
	for (int i = 0; i < 200; i++) { /* a directory with more entries than one call gives */
		snprintf(path, sizeof path, "%s/d/", base);
		mkdir(path, 0700);
		snprintf(path, sizeof path, "%s/d/entry%03d", base, i);
		MUST(close(MUST(open(path, O_CREAT | O_WRONLY, 0600))));
	}
	snprintf(path, sizeof path, "%s/d", base);
	dir = MUST(open(path, O_RDONLY | O_DIRECTORY));
	char ents[700];
	MUST(syscall(SYS_getdents64, dir, ents, sizeof ents));
	off_t dirpos = pos(dir);
	int before[200] = {0}, after[200];
	names(dir, before); /* what remains after the first read */
	MUST(lseek(dir, dirpos, SEEK_SET));
	if (!MUST(fork())) { /* shares every description; its own table: one descriptor less, one more */
		h_part("child");
		close(sync);
		int mine = MUST(open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC)); /* takes sync's number */
		while (wait_check()) {
			CHECK(mine == sync && fcntl(mine, F_GETFD) == FD_CLOEXEC && (fl(mine) & O_DIRECTORY), "the child's own table");
			CHECK(WAIT_FOR(pos(ro) == 2000 + h.check), "the shared position did not move with the parent's: %ld", (long)pos(ro));
			lseek(ro, 3000 + h.check, SEEK_SET);
			fcntl(other, F_SETFL, O_APPEND);
		}
		return 0;
	}
	ready();

	for (long apos = 17; wait_check();) {
		CHECK(pos(copy) == 1000 && pos(high) == 1000, "positions of the dups are %ld, %ld", (long)pos(copy), (long)pos(high));
		CHECK(pos(rw) == 5000000000LL && pos(other) == 3 && pos(app) == apos && pos(sync) == 4096,
		      "positions %ld %ld %ld %ld", (long)pos(rw), (long)pos(other), (long)pos(app), (long)pos(sync));
		CHECK(fl(ro) == O_RDONLY && fl(rw) == O_RDWR && fl(app) == (O_WRONLY | O_APPEND), "flags: %o %o %o", fl(ro), fl(rw), fl(app));
		CHECK(fl(sync) == (O_WRONLY | O_SYNC) && fl(dsync) == (O_WRONLY | O_DSYNC), "sync flags: %o %o", fl(sync), fl(dsync));
		CHECK(fl(na) == O_NOATIME && fl(nb) == O_NONBLOCK && fl(nofollow) == O_NOFOLLOW, "flags: %o %o %o", fl(na), fl(nb), fl(nofollow));
		CHECK(fl(other) == (O_APPEND | O_NOATIME), "flags set later: %o", fl(other));
		CHECK(fl(opath) == O_PATH && fl(opathdir) == (O_PATH | O_DIRECTORY), "O_PATH: %o %o", fl(opath), fl(opathdir));
		CHECK(read(opath, text, 1) < 0 && errno == EBADF, "the O_PATH descriptor can be read");
		CHECK(high == 900 && fcntl(high, F_GETFD) == FD_CLOEXEC && fcntl(rw, F_GETFD) == FD_CLOEXEC && !fcntl(ro, F_GETFD), "close-on-exec");
		same(ro, "ro"), same(rw, "rw"), same(app, "append"), same(opath, "ro"), same(dir, "d"), same(high, "ro");

		fill(text, sizeof text, 7);
		char got[100];
		CHECK(read(ro, got, 100) == 100 && !memcmp(got, text + 1000, 100), "content at the position");
		CHECK(pos(copy) == 1100 && pos(other) == 3, "sharing: %ld %ld", (long)pos(copy), (long)pos(other));
		CHECK(write(app, "z", 1) == 1 && (apos = pos(app)) == 4096 + h.check, "O_APPEND writes at %ld", apos);
		CHECK(pos(dir) == dirpos, "the directory is at %ld, not %ld", (long)pos(dir), (long)dirpos);
		memset(after, 0, sizeof after);
		names(dir, after);
		CHECK(!memcmp(before, after, sizeof after), "the directory does not go on where it was");
		lseek(dir, dirpos, SEEK_SET);
		struct stat a, b;
		CHECK(!fstat(opathdir, &a) && !stat(base, &b) && a.st_ino == b.st_ino, "the O_PATH directory is another");
		lseek(ro, 2000 + h.check, SEEK_SET);
		CHECK(WAIT_FOR(pos(ro) == 3000 + h.check), "the child's position is not ours");
		h_collect("child");
		CHECK(fl(other) == O_APPEND, "flags set by the child do not show: %o", fl(other));
		fcntl(other, F_SETFL, O_APPEND | O_NOATIME);
		lseek(ro, 1000, SEEK_SET);
	}
	snprintf(path, sizeof path, "rm -rf %s", base);
	return getenv("STATE_DIR") && system(path) ? 1 : 0;
}
