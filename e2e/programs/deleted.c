/*
 * State: files that are open and have no name any more: with one and several descriptions, data and holes, O_TMPFILE,
 * a hard link that remains, deleted and made anew under the same name, in a directory that is gone too; a deleted
 * directory that is open and one that is a child's cwd.
 * Wrong could go: the content lost or its size, two descriptions of one deleted file given two files, the new file of
 * the name taken for the deleted one, st_nlink, a name left behind in the file system after restore.
 */
#include "harness.h"
#include <dirent.h>

static char base[128];
static char *at(const char *name)
{
	static char path[4][300];
	static int i;
	snprintf(path[++i % 4], 300, "%s/%s", base, name);
	return path[i % 4];
}
static int make(const char *name, int seed, size_t len)
{
	static char text[1 << 20];
	int fd = MUST(open(at(name), O_RDWR | O_CREAT | O_EXCL, 0620));
	fill(text, len, (uint64_t)seed);
	MUST(write(fd, text, len));
	return fd;
}
static int holds(int fd, int seed, size_t len)
{
	static char text[1 << 20];
	struct stat st;
	return !fstat(fd, &st) && st.st_size == (off_t)len && pread(fd, text, len, 0) == (ssize_t)len && verify(text, len, (uint64_t)seed) < 0;
}
static nlink_t links(int fd)
{
	struct stat st;
	return fstat(fd, &st) ? 99 : st.st_nlink;
}
static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int main(void)
{
	char path[64], target[300], c;
	struct stat st;
	h_init();
	snprintf(base, sizeof base, "/tmp/deleted.%d", getpid());
	MUST(mkdir(base, 0755)), MUST(mkdir(at("dir"), 0755)), MUST(mkdir(at("cwd"), 0755)), MUST(mkdir(at("kept"), 0755));

	int one = make("one", 1, 100000), two, ro, app;
	MUST(lseek(one, 777, SEEK_SET));
	two = MUST(open(at("one"), O_RDWR)), ro = MUST(open(at("one"), O_RDONLY | O_NONBLOCK)), app = MUST(open(at("one"), O_WRONLY | O_APPEND));
	int path_only = MUST(open(at("one"), O_PATH)), dupped = MUST(dup(two));
	MUST(lseek(two, 5, SEEK_SET));
	MUST(fchmod(one, 0604)), MUST(fchown(one, 12, 34));
	MUST(futimens(one, (struct timespec[2]){{1000, 1}, {2000, 2}}));
	MUST(unlink(at("one")));

	int sparse = MUST(open(at("sparse"), O_RDWR | O_CREAT, 0600));
	MUST(pwrite(sparse, "end", 3, 1LL << 32)); /* 4 GB of nothing */
	MUST(unlink(at("sparse")));
	int linked = make("linked", 2, 5000);
	MUST(link(at("linked"), at("kept/other")));
	MUST(unlink(at("linked")));
	int again = make("again", 3, 3000);
	MUST(unlink(at("again")));
	int newer = make("again", 4, 4000); /* same name, another file */
	int indir = make("dir/in", 5, 2000), dir = MUST(open(at("dir"), O_RDONLY | O_DIRECTORY));
	MUST(unlink(at("dir/in"))), MUST(rmdir(at("dir")));
	int tmp = open(base, O_TMPFILE | O_RDWR, 0640);
	int excl = open(base, O_TMPFILE | O_RDWR | O_EXCL, 0640);
	if (tmp < 0 || excl < 0)
		DIE("O_TMPFILE");
	static char text[6000];
	fill(text, sizeof text, 6), MUST(write(tmp, text, sizeof text)), MUST(write(excl, text, sizeof text));
	int named = make("name (deleted)", 7, 70), empty = make("empty", 8, 0);
	MUST(unlink(at("empty")));
	if (!MUST(fork())) { /* works in a directory that is gone; shares one's description, has one of its own of two */
		MUST(chdir(at("cwd"))), MUST(rmdir(at("cwd")));
		h_part("child");
		while (wait_check()) {
			CHECK(syscall(SYS_getcwd, target, sizeof target) < 0 && errno == ENOENT, "the deleted cwd is %s", target);
			CHECK(!stat(".", &st) && st.st_nlink == 0, "stat of the deleted cwd");
			CHECK(open("new", O_CREAT | O_WRONLY, 0600) < 0 && errno == ENOENT, "the deleted cwd takes a file");
			CHECK(WAIT_FOR(lseek(one, 0, SEEK_CUR) == 800 + h.check), "the shared description");
			CHECK(holds(one, 1, 100000), "content of the deleted file");
			lseek(one, 900 + h.check, SEEK_SET);
		}
		_exit(0);
	}
	WAIT_FOR(access(at("cwd"), F_OK) < 0);
	MUST(lseek(one, 777, SEEK_SET));
	int n_base = entries(base), n_kept = entries(at("kept"));
	ready();

	while (wait_check()) {
		CHECK(entries(base) == n_base && entries(at("kept")) == n_kept, "names came or went: %d entries, %d were there", entries(base), n_base);
		CHECK(holds(one, 1, 100000) && holds(two, 1, 100000), "content of the deleted file");
		CHECK(links(one) == 0 && links(tmp) == 0 && links(excl) == 0 && links(indir) == 0 && links(sparse) == 0 && links(empty) == 0, "a deleted file has a name");
		CHECK(!fstat(one, &st) && (st.st_mode & 07777) == 0604 && st.st_uid == 12 && st.st_gid == 34, "mode %o, owner %d:%d", st.st_mode, st.st_uid, st.st_gid);
		CHECK(st.st_mtim.tv_sec == 2000 + h.check - 1 && st.st_mtim.tv_nsec == 2, "its time of change is %ld", (long)st.st_mtim.tv_sec);
		CHECK(lseek(one, 0, SEEK_CUR) == 777 && lseek(two, 0, SEEK_CUR) == 5 && lseek(dupped, 0, SEEK_CUR) == 5 && lseek(ro, 0, SEEK_CUR) == 0, "positions");
		CHECK(h_flags(ro) == O_NONBLOCK && h_flags(app) == (O_WRONLY | O_APPEND) && h_flags(path_only) == O_PATH, "flags %o %o %o", h_flags(ro), h_flags(app), h_flags(path_only));
		c = 0;
		CHECK(pwrite(two, "#", 1, 50000) == 1 && pread(ro, &c, 1, 50000) == 1 && c == '#', "two descriptions of one deleted file are two files");
		ino_t ino = st.st_ino;
		CHECK(!fstat(ro, &st) && st.st_ino == ino && !fstat(path_only, &st) && st.st_ino == ino && !fstat(app, &st) && st.st_ino == ino, "inodes differ");
		CHECK(lseek(dupped, 6, SEEK_SET) == 6 && lseek(two, 0, SEEK_CUR) == 6 && lseek(two, 5, SEEK_SET) == 5, "dup");
		CHECK(write(app, "tail", 4) == 4 && !fstat(one, &st) && st.st_size == 100004 && !ftruncate(one, 100000), "append");
		static char orig[1 << 16];
		fill(orig, sizeof orig, 1);
		CHECK(pwrite(two, orig + 50000, 1, 50000) == 1, "write: %s", strerror(errno));
		futimens(one, (struct timespec[2]){{1000, 1}, {2000 + h.check, 2}});

		memset(text, 0, 3);
		CHECK(!fstat(sparse, &st) && st.st_size == (1LL << 32) + 3 && st.st_blocks < 1000 && pread(sparse, text, 3, 1LL << 32) == 3 && !memcmp(text, "end", 3), "the sparse file takes %ld blocks", (long)st.st_blocks);
		struct stat st2;
		CHECK(holds(linked, 2, 5000) && links(linked) == 1 && !fstat(linked, &st) && !stat(at("kept/other"), &st2) && st.st_ino == st2.st_ino, "the file that keeps a hard link");
		CHECK(holds(again, 3, 3000) && links(again) == 0, "the deleted file whose name is in use again");
		CHECK(holds(newer, 4, 4000) && links(newer) == 1, "the new file of that name");
		CHECK(holds(indir, 5, 2000) && holds(named, 7, 70) && links(named) == 1 && holds(empty, 8, 0), "in a deleted directory; with a confusing name; empty");
		CHECK(!fstat(dir, &st) && S_ISDIR(st.st_mode) && st.st_nlink == 0 && openat(dir, "x", O_CREAT | O_WRONLY, 0600) < 0, "the deleted directory");
		snprintf(path, sizeof path, "/proc/self/fd/%d", one);
		memset(target, 0, sizeof target);
		CHECK(readlink(path, target, sizeof target - 1) > 0 && strstr(target, " (deleted)"), "the deleted file's name is %s", target);
		CHECK(holds(tmp, 6, sizeof text) && holds(excl, 6, sizeof text), "O_TMPFILE");
		snprintf(path, sizeof path, "/proc/self/fd/%d", excl);
		/* that O_TMPFILE|O_EXCL cannot be given a name shows nowhere but in the try */
		snprintf(path, sizeof path, "/proc/self/fd/%d", tmp);
		CHECK(linkat(AT_FDCWD, path, AT_FDCWD, at("given"), AT_SYMLINK_FOLLOW) == 0, "O_TMPFILE cannot be given a name: %s", strerror(errno));
		unlink(at("given")); /* now it can no more: take a new one */
		int fresh = MUST(open(base, O_TMPFILE | O_RDWR, 0640));
		fill(text, sizeof text, 6);
		CHECK(write(fresh, text, sizeof text) == sizeof text && dup2(fresh, tmp) == tmp && !close(fresh), "a new O_TMPFILE");
		lseek(one, 800 + h.check, SEEK_SET);
		CHECK(WAIT_FOR(lseek(one, 0, SEEK_CUR) == 900 + h.check), "the child's description of the deleted file is not ours");
		h_collect("child");
		lseek(one, 777, SEEK_SET);
	}
	snprintf(target, sizeof target, "rm -rf %s", base);
	return getenv("STATE_DIR") && system(target) ? 1 : 0;
}
