/*
 * State: what lies in the container's tmpfs mounts /tmp, /run and /dev/shm: files with data, holes, modes (setuid,
 * sticky), owners, times to the nanosecond, user.* extended attributes, hard links within a mount, symbolic links,
 * FIFOs, sockets, devices, empty and deep directories, names with any byte; a file that is open and mapped; a tmpfs that
 * was mounted after the start, and one on top of that (mounting needs CAP_SYS_ADMIN).
 * Wrong could go: each of these; the sizes of sparse files; the times of directories (which the filling changes).
 */
#include "harness.h"
#include <dirent.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

static const char *const roots[] = {"/tmp", "/run", "/dev/shm", "/later", "/later/top"};
enum { MAX = 700 };
static int NROOT = 5;
static char base[5][64];
static struct entry { char path[400]; struct stat st; uint64_t sum; char attrs[256]; } was[MAX], now[MAX];
static int nwas;

static char *at(int r, const char *name)
{
	static char path[4][400];
	static int i;
	snprintf(path[++i % 4], 400, "%s/%s", base[r], name);
	return path[i % 4];
}
static void make(int r, const char *name, size_t len, int mode)
{
	static char text[1 << 20];
	int fd = MUST(open(at(r, name), O_RDWR | O_CREAT | O_EXCL, 0600));
	fill(text, len, (uint64_t)r * 100 + len);
	MUST(write(fd, text, len));
	MUST(fchmod(fd, (mode_t)mode));
	close(fd);
}
static uint64_t sum_of(const char *path, const struct stat *st)
{
	static char buf[1 << 16];
	uint64_t s = 1469598103934665603ULL;
	ssize_t n;
	if (S_ISLNK(st->st_mode)) {
		n = readlink(path, buf, sizeof buf);
		for (ssize_t i = 0; i < n; i++)
			s = (s ^ (unsigned char)buf[i]) * 1099511628211ULL;
		return s;
	}
	int fd = S_ISREG(st->st_mode) ? open(path, O_RDONLY | O_NOATIME) : -1;
	for (off_t data = 0; fd >= 0 && (data = lseek(fd, data, SEEK_DATA)) >= 0;) { /* where the data is counts as well */
		off_t hole = lseek(fd, data, SEEK_HOLE);
		for (s ^= (uint64_t)data; data < hole && (n = pread(fd, buf, sizeof buf, data)) > 0; data += n)
			for (ssize_t i = 0; i < n; i++)
				s = (s ^ (unsigned char)buf[i]) * 1099511628211ULL;
	}
	if (fd >= 0)
		close(fd);
	return s;
}
static int walk(const char *dir, struct entry *out, int n)
{
	struct dirent **names;
	int count = scandir(dir, &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		struct entry *e = &out[n];
		if (n < MAX - 1 && strcmp(names[i]->d_name, ".") && strcmp(names[i]->d_name, "..")) {
			memset(e, 0, sizeof *e);
			snprintf(e->path, sizeof e->path, "%s/%s", dir, names[i]->d_name);
			if (lstat(e->path, &e->st) == 0) {
				ssize_t l = S_ISREG(e->st.st_mode) || S_ISDIR(e->st.st_mode) ? llistxattr(e->path, e->attrs, 100) : 0;
				if (l > 0)
					lgetxattr(e->path, "user.rethaw", e->attrs + 100, 150);
				e->sum = sum_of(e->path, &e->st);
				n++;
				if (S_ISDIR(e->st.st_mode))
					n = walk(e->path, out, n);
			}
		}
		free(names[i]);
	}
	if (count >= 0)
		free(names);
	return n;
}
static int survey(struct entry *out)
{
	int n = 0;
	for (int r = 0; r < NROOT; r++) {
		snprintf(out[n].path, sizeof out[n].path, "%s", base[r]);
		if (!lstat(base[r], &out[n].st))
			n++;
		n = walk(base[r], out, n);
	}
	return n;
}
static void build(int r)
{
	make(r, "file", 100000, 0640), make(r, "setuid", 10, 06711), make(r, "none", 3000, 0), make(r, "empty", 0, 0644);
	make(r, "name \n\t\\ \xff\xfe\xc3\xa9", 5, 0600);
	MUST(mkdir(at(r, "sticky"), 0700)), MUST(mkdir(at(r, "deep"), 0755)), MUST(mkdir(at(r, "deep/er"), 0711)), MUST(mkdir(at(r, "deep/er/est"), 0500));
	make(r, "deep/er/est/leaf", 77, 0444);
	MUST(chmod(at(r, "sticky"), 03777)), MUST(chown(at(r, "sticky"), 1234, 5678)), MUST(chown(at(r, "file"), 65534, 99));
	MUST(link(at(r, "file"), at(r, "deep/hardlink"))), MUST(link(at(r, "file"), at(r, "third")));
	MUST(symlink("../nowhere/at all", at(r, "dangling"))), MUST(symlink("file", at(r, "link"))), MUST(lchown(at(r, "link"), 7, 8));
	MUST(link(at(r, "link"), at(r, "link2"))); /* a hard link to a symbolic one */
	MUST(mkfifo(at(r, "fifo"), 0620)), MUST(chown(at(r, "fifo"), 5, 6));
	/* In a user namespace nobody may. */
	if (mknod(at(r, "null"), S_IFCHR | 0666, makedev(1, 3)) && !(errno == EPERM && h_foreign()))
		DIE("mknod");
	int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	snprintf(a.sun_path, sizeof a.sun_path, "%s", at(r, "dead-socket"));
	MUST(bind(s, (void *)&a, sizeof a)), MUST(chmod(a.sun_path, 0611));
	close(s); /* a socket file whose socket is gone */
	int fd = MUST(open(at(r, "sparse"), O_RDWR | O_CREAT, 0604));
	MUST(ftruncate(fd, 1LL << 34)), MUST(pwrite(fd, "data", 4, 1LL << 33));
	close(fd);
	for (int i = 0; i < 60; i++) {
		char name[32];
		snprintf(name, sizeof name, "many-%02d", i), make(r, name, (size_t)i, 0600);
	}
	if (setxattr(at(r, "file"), "user.rethaw", "a\0b value", 9, 0) || setxattr(at(r, "sticky"), "user.rethaw", "dir", 3, 0))
		fprintf(stderr, "%s: no user extended attributes: %s\n", base[r], strerror(errno)); /* tmpfs before 6.6 */
	const char *const dated[] = {"file", "link", "fifo", "dead-socket", "deep/er/est", "deep", "sparse", "sticky", ""};
	for (int i = 0; i < 9; i++)
		MUST(utimensat(AT_FDCWD, at(r, dated[i]), (struct timespec[2]){{1000000 + i, 111111111 + i}, {i == 4 ? -86400 : 1500000000 + i, 222222222 + i}}, AT_SYMLINK_NOFOLLOW));
}

int main(void)
{
	h_init();
	mkdir("/later", 0755);
	if (mount("source", "/later", "tmpfs", MS_NOSUID, "size=40m,nr_inodes=1000,mode=0711"))
		NROOT = 3;
	else if (mkdir("/later/top", 0755) || mount("tmpfs", "/later/top", "tmpfs", MS_NOEXEC | MS_NOATIME, "size=30m"))
		DIE("mount /later/top");
	for (int r = 0; r < NROOT; r++) {
		snprintf(base[r], sizeof base[r], "%s/tmpfs.%d", roots[r], getpid());
		if (mkdir(base[r], 0751))
			DIE("mkdir %s", base[r]);
		build(r);
	}
	int fd = MUST(open(at(2, "file"), O_RDWR));
	char *map = MUST(mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	survey(now); /* reading directories changes their access times: once before */
	nwas = survey(was);
	ready();

	while (wait_check()) {
		int n = survey(now);
		CHECK(n == nwas && n > 200 && n < MAX - 1, "%d entries, not %d", n, nwas);
		for (int i = 0; i < n && i < nwas; i++) {
			struct stat *a = &was[i].st, *b = &now[i].st;
			const char *p = was[i].path;
			if (strcmp(p, now[i].path)) {
				h_fail("%s is now %s", p, now[i].path);
				break;
			}
			CHECK(a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid, "%s: mode %o owner %d:%d, were %o %d:%d", p, b->st_mode, b->st_uid, b->st_gid, a->st_mode, a->st_uid, a->st_gid);
			CHECK(a->st_nlink == b->st_nlink && a->st_rdev == b->st_rdev && a->st_size == b->st_size, "%s: links %lu device %lx size %ld", p, (unsigned long)b->st_nlink, (unsigned long)b->st_rdev, (long)b->st_size);
			CHECK(a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec, "%s: modified %ld.%09ld, was %ld.%09ld", p, (long)b->st_mtim.tv_sec, b->st_mtim.tv_nsec, (long)a->st_mtim.tv_sec, a->st_mtim.tv_nsec);
			CHECK(S_ISDIR(a->st_mode) || S_ISLNK(a->st_mode) || (a->st_atim.tv_sec == b->st_atim.tv_sec && a->st_atim.tv_nsec == b->st_atim.tv_nsec), "%s: accessed %ld.%09ld", p, (long)b->st_atim.tv_sec, b->st_atim.tv_nsec);
			CHECK(!S_ISREG(a->st_mode) || b->st_blocks <= a->st_blocks + 8, "%s: %ld blocks, not %ld: a hole is filled", p, (long)b->st_blocks, (long)a->st_blocks);
			CHECK(was[i].sum == now[i].sum, "%s: content", p);
			CHECK(!memcmp(was[i].attrs, now[i].attrs, sizeof was[i].attrs), "%s: extended attributes", p);
			for (int k = 0; k < i; k++) /* hard links: the same groups as before */
				CHECK((was[k].st.st_ino == a->st_ino && was[k].st.st_dev == a->st_dev) == (now[k].st.st_ino == b->st_ino && now[k].st.st_dev == b->st_dev), "%s and %s: hard links", p, was[k].path);
		}
		struct stat st, st2;
		struct statvfs v;
		if (NROOT > 3) {
			CHECK(!statvfs("/later", &v) && v.f_flag & ST_NOSUID && !(v.f_flag & ST_NOEXEC) && v.f_blocks * v.f_frsize == 40 << 20 && v.f_files == 1000, "the tmpfs mounted later: flags %lx, %lu blocks", v.f_flag, (unsigned long)v.f_blocks);
			CHECK(!statvfs("/later/top", &v) && v.f_flag & ST_NOEXEC && v.f_flag & ST_NOATIME, "the tmpfs on top: flags %lx", v.f_flag);
		}
		char c = 0;
		CHECK(!fstat(fd, &st) && !stat(at(2, "file"), &st2) && st.st_ino == st2.st_ino && st.st_dev == st2.st_dev && st.st_nlink == 3, "the open file is not that of the name");
		CHECK(verify(map, 100000, 200 + 100000) < 0 && pread(fd, &c, 1, 5) == 1 && c == map[5], "the mapped file");
		nwas = survey(was);
	}
	char cmd[300];
	snprintf(cmd, sizeof cmd, "rm -rf %s %s %s", base[0], base[1], base[2]);
	return getenv("STATE_DIR") && system(cmd) ? 1 : 0;
}
