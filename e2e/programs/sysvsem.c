/*
 * State: SysV semaphore sets: ids and keys, owners and modes, values, the pid of the last operation, waiters for more
 * and for zero, undo values of a living process (that show when it dies), a set that was removed before (its slot is
 * used again: ids have sequence numbers).
 * Wrong could go: the id, which programs keep in memory; the key; undo lost or done at the checkpoint; waiters.
 */
#include "harness.h"
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

union semun { int val; struct semid_ds *buf; unsigned short *array; };
struct set { key_t key; int n, mode, uid, gid, id; unsigned short vals[250]; struct semid_ds ds; };
static struct set sets[] = {
	{0x52455448, 3, 0640, 0, 0, 0, {5, 0, 32767}, {}},
	{IPC_PRIVATE, 1, 0600, 1000, 2000, 0, {7}, {}},
	{0x7fffffff, 250, 0666, 0, 5, 0, {}, {}},
	{0x13, 2, 0, 0, 0, 0, {1, 2}, {}},
};
enum { N = sizeof sets / sizeof *sets };
static int undo_id;

static void op(int id, int num, int by, int flags)
{
	struct sembuf b = {(unsigned short)num, (short)by, (short)flags};
	CHECK(!semop(id, &b, 1), "semop %d: %s", by, strerror(errno));
}
static pid_t undoer(void) /* holds a semaphore with SEM_UNDO until it is killed */
{
	pid_t p = fork();
	if (!p) {
		op(undo_id, 0, -3, SEM_UNDO), op(undo_id, 1, 4, SEM_UNDO);
		for (;; h_sleep(20 * MS))
			if (getppid() == 1 && getenv("STATE_DIR"))
				_exit(0);
	}
	WAIT_FOR(semctl(undo_id, 0, GETVAL) == 7 && semctl(undo_id, 1, GETVAL) == 4);
	return p;
}
static pid_t waiter(int num, int by)
{
	pid_t p = fork();
	if (!p) {
		struct sembuf b = {(unsigned short)num, (short)by, 0};
		_exit(semop(undo_id, &b, 1) ? errno : 0);
	}
	WAIT_FOR(semctl(undo_id, num, by ? GETNCNT : GETZCNT) == 1);
	return p;
}

int main(void)
{
	h_init();
	for (int i = 0; i < N; i++) {
		struct set *s = &sets[i];
		int old = semget(s->key, 0, 0); /* of an earlier run outside a container */
		if (s->key != IPC_PRIVATE && old >= 0)
			semctl(old, 0, IPC_RMID);
		for (int waste = 0; waste < i; waste++) /* moves the sequence number on */
			MUST(semctl(MUST(semget(IPC_PRIVATE, 1, 0600)), 0, IPC_RMID));
		s->id = MUST(semget(s->key, s->n, IPC_CREAT | IPC_EXCL | 0600));
		for (int v = 0; i == 2 && v < s->n; v++)
			s->vals[v] = (unsigned short)(h_word(9, (uint64_t)v) & 0x7fff);
		MUST(semctl(s->id, 0, SETALL, (union semun){.array = s->vals}));
		MUST(semctl(s->id, 0, IPC_STAT, (union semun){.buf = &s->ds}));
		s->ds.sem_perm.mode = (unsigned short)s->mode, s->ds.sem_perm.uid = (uid_t)s->uid, s->ds.sem_perm.gid = (gid_t)s->gid;
		MUST(semctl(s->id, 0, IPC_SET, (union semun){.buf = &s->ds}));
		if (i == 0)
			op(s->id, 0, 1, 0), s->vals[0]++; /* leaves our pid */
		if (s->mode)
			MUST(semctl(s->id, 0, IPC_STAT, (union semun){.buf = &s->ds}));
	}
	undo_id = MUST(semget(IPC_PRIVATE, 3, 0600));
	MUST(semctl(undo_id, 0, SETALL, (union semun){.array = (unsigned short[]){10, 0, 1}}));
	pid_t undo = undoer(), more = waiter(0, -9), zero = waiter(2, 0);
	ready();

	while (wait_check()) {
		for (int i = 0; i < N; i++) {
			struct set *s = &sets[i];
			struct semid_ds ds = {};
			unsigned short vals[250];
			if (s->key != IPC_PRIVATE && s->mode)
				CHECK(semget(s->key, 0, 0) == s->id, "set %d: its key gives id %d, not %d", i, semget(s->key, 0, 0), s->id);
			CHECK(!s->mode || !semctl(s->id, 0, IPC_STAT, (union semun){.buf = &ds}), "set %d (id %d): %s", i, s->id, strerror(errno));
			if (!s->mode) { /* unreadable without CAP_IPC_OWNER: the owner may change that */
				ds = s->ds, ds.sem_perm.mode = 0600;
				CHECK(!semctl(s->id, 0, IPC_SET, (union semun){.buf = &ds}) && !semctl(s->id, 0, IPC_STAT, (union semun){.buf = &ds}), "set %d (id %d): %s", i, s->id, strerror(errno));
				ds.sem_perm.mode = 0, semctl(s->id, 0, GETALL, (union semun){.array = vals});
				semctl(s->id, 0, IPC_SET, (union semun){.buf = &ds});
			}
			CHECK(ds.sem_perm.__key == s->key && (ds.sem_perm.mode & 0777) == (unsigned)s->mode && ds.sem_perm.uid == (uid_t)s->uid && ds.sem_perm.gid == (gid_t)s->gid && ds.sem_perm.cuid == 0,
			      "set %d: key %x mode %o owner %u:%u creator %u", i, ds.sem_perm.__key, ds.sem_perm.mode, ds.sem_perm.uid, ds.sem_perm.gid, ds.sem_perm.cuid);
			CHECK(ds.sem_nsems == (unsigned long)s->n, "set %d: %lu semaphores", i, ds.sem_nsems);
			if (s->mode)
				CHECK(!semctl(s->id, 0, GETALL, (union semun){.array = vals}), "GETALL: %s", strerror(errno));
			CHECK(!memcmp(vals, s->vals, (size_t)s->n * 2), "set %d: values %u %u, not %u %u", i, vals[0], vals[1], s->vals[0], s->vals[1]);
		}
		CHECK(semctl(undo_id, 0, GETVAL) == 7 && semctl(undo_id, 1, GETVAL) == 4, "the set with undo: %d %d, not 7 4", semctl(undo_id, 0, GETVAL), semctl(undo_id, 1, GETVAL));
		CHECK(semctl(undo_id, 0, GETNCNT) == 1 && semctl(undo_id, 2, GETZCNT) == 1, "waiters: %d %d", semctl(undo_id, 0, GETNCNT), semctl(undo_id, 2, GETZCNT));
		int st = -1;
		kill(undo, SIGKILL); /* gives back 3: the waiter for 9 of 10 goes on */
		CHECK(waitpid(undo, NULL, 0) == undo, "wait");
		CHECK(WAIT_FOR(waitpid(more, &st, WNOHANG) == more) && st == 0, "undo does not give back, or the waiter got an error: %x", st);
		CHECK(semctl(undo_id, 0, GETVAL) == 1 && semctl(undo_id, 1, GETVAL) == 0, "after the undo: %d %d, not 1 0", semctl(undo_id, 0, GETVAL), semctl(undo_id, 1, GETVAL));
		semctl(undo_id, 2, SETVAL, (union semun){.val = 0});
		CHECK(WAIT_FOR(waitpid(zero, &st, WNOHANG) == zero) && st == 0, "the waiter for zero: %x", st);
		semctl(undo_id, 0, SETALL, (union semun){.array = (unsigned short[]){10, 0, 1}});
		undo = undoer(), more = waiter(0, -9), zero = waiter(2, 0);
	}
	for (int i = 0; i < N; i++)
		semctl(sets[i].id, 0, IPC_RMID);
	semctl(undo_id, 0, IPC_RMID);
	kill(undo, SIGKILL);
	return 0;
}
