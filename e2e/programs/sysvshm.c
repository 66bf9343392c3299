/*
 * State: SysV shared memory: ids and keys, owners and modes, odd sizes, content of attached and of unattached segments,
 * one marked for destruction that lives while it is attached, several attaches (another address, read-only, executable,
 * part unmapped), a segment whose id is above those of removed ones.
 * Wrong could go: the id or key, the segment to be destroyed kept for ever or gone, attach counts, unattached content.
 */
#include "harness.h"
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#define P 4096UL
struct seg { key_t key; size_t size; int mode, uid, gid, attach, destroy, id; struct shmid_ds ds; char *map; };
static struct seg segs[] = {
	{0x5245544a, 10 * P + 17, 0750, 0, 0, 1, 0, 0, {}, 0}, {IPC_PRIVATE, 3 * P, 0600, 1000, 2000, 0, 0, 0, {}, 0}, {0x15, 1, 0666, 0, 9, 2, 0, 0, {}, 0},
	{0x16, 20 * P, 0600, 0, 0, 1, 1, 0, {}, 0},	       {-7, 64 * P, 0444, 0, 0, 0, 0, 0, {}, 0},
};
enum { N = sizeof segs / sizeof *segs };

static size_t content(const struct seg *s) { return s->size < 8 * P ? s->size : 8 * P; }

int main(void)
{
	h_init();
	for (int i = 0; i < N; i++) {
		struct seg *s = &segs[i];
		int old = s->key == IPC_PRIVATE ? -1 : shmget(s->key, 0, 0);
		if (old >= 0)
			shmctl(old, IPC_RMID, NULL);
		for (int waste = 0; waste < i; waste++)
			MUST(shmctl(MUST(shmget(IPC_PRIVATE, P, 0600)), IPC_RMID, NULL));
		s->id = MUST(shmget(s->key, s->size, IPC_CREAT | IPC_EXCL | 0600));
		s->map = MUST(shmat(s->id, NULL, 0));
		fill(s->map, content(s), (uint64_t)i);
		MUST(shmctl(s->id, IPC_STAT, &s->ds));
		s->ds.shm_perm.mode = (unsigned short)s->mode, s->ds.shm_perm.uid = (uid_t)s->uid, s->ds.shm_perm.gid = (gid_t)s->gid;
		MUST(shmctl(s->id, IPC_SET, &s->ds));
		if (s->attach == 2)
			MUST(shmat(s->id, NULL, 0));
		if (!s->attach)
			shmdt(s->map), s->map = NULL;
		if (s->destroy)
			MUST(shmctl(s->id, IPC_RMID, NULL));
		MUST(shmctl(s->id, IPC_STAT, &s->ds));
	}
	/* attaches of the first: read-only at an address of our choice, executable, and one with a hole */
	char *room = MUST(mmap(NULL, 64 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	MUST(munmap(room, 64 * P));
	char *ro = MUST(shmat(segs[0].id, room + 8 * P, SHM_RDONLY)), *ex = MUST(shmat(segs[0].id, NULL, SHM_EXEC)), *holed = MUST(shmat(segs[0].id, room + 32 * P, 0));
	MUST(munmap(holed + 4 * P, P));
	MUST(mprotect(holed + 8 * P, P, PROT_READ));
	memcpy(ex + 9 * P, "\xb8\x39\x05\x00\x00\xc3", 6);
	struct shmid_ds first;
	MUST(shmctl(segs[0].id, IPC_STAT, &first));
	if (!MUST(fork())) {
		h_part("child");
		while (wait_check()) {
			CHECK(WAIT_FOR(segs[3].map[15 * P] == (char)h.check), "what the parent writes to the doomed segment does not show");
			segs[3].map[16 * P] = (char)h.check;
		}
		_exit(0);
	}
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			struct seg *s = &segs[i];
			struct shmid_ds d = {};
			int id = s->key == IPC_PRIVATE ? s->id : shmget(s->key, 0, 0);
			CHECK(s->destroy ? id < 0 : id == s->id, "segment %d: its key gives id %d, not %d", i, id, s->id);
			CHECK(!shmctl(s->id, IPC_STAT, &d), "segment %d (id %d): %s", i, s->id, strerror(errno));
			CHECK(d.shm_perm.__key == (s->destroy ? IPC_PRIVATE : s->key) && (d.shm_perm.mode & 0777) == (unsigned)s->mode && d.shm_perm.uid == (uid_t)s->uid && d.shm_perm.gid == (gid_t)s->gid && d.shm_perm.cuid == 0,
			      "segment %d: key %x mode %o owner %u:%u", i, d.shm_perm.__key, d.shm_perm.mode, d.shm_perm.uid, d.shm_perm.gid);
			CHECK(!!(d.shm_perm.mode & SHM_DEST) == s->destroy && d.shm_segsz == s->size, "segment %d: mode %o, size %zu", i, d.shm_perm.mode, d.shm_segsz);
			unsigned long want = (i ? s->ds.shm_nattch : first.shm_nattch) * 2; /* the child has them too */
			CHECK(d.shm_nattch == want, "segment %d: attached %lu times, not %lu", i, (unsigned long)d.shm_nattch, want);
			char *m = s->map ? s->map : shmat(s->id, NULL, SHM_RDONLY);
			CHECK(m != (void *)-1 && verify(m, content(s), (uint64_t)i) < 0, "segment %d: content", i);
			if (!s->map)
				shmdt(m);
		}
		CHECK(verify(ro, 8 * P, 0) < 0 && ro == room + 8 * P && mprotect(ro, P, PROT_READ | PROT_WRITE) < 0, "the read-only attach");
		CHECK(((int (*)(void))(uintptr_t)(ex + 9 * P))() == 1337, "the executable attach");
		unsigned char v;
		CHECK(mincore(holed + 4 * P, P, &v) < 0 && !mincore(holed + 3 * P, P, &v) && !mincore(holed + 5 * P, P, &v), "the attach with a hole");
		segs[0].map[10 * P] = (char)h.check;
		CHECK(ro[10 * P] == (char)h.check && holed[10 * P] == (char)h.check && ex[10 * P] == (char)h.check, "attaches of one segment have parted");
		segs[3].map[15 * P] = (char)h.check;
		CHECK(WAIT_FOR(segs[3].map[16 * P] == (char)h.check), "the doomed segment has parted");
		h_collect("child");
	}
	for (int i = 0; i < N; i++)
		shmctl(segs[i].id, IPC_RMID, NULL);
	return 0;
}
