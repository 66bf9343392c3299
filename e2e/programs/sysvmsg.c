/*
 * State: SysV message queues: ids and keys, owners and modes, a size limit of their own, messages of several types and
 * sizes in their order, an empty message, a waiting receiver.
 * Wrong could go: the id or key, messages lost, doubled or in another order, types, the limit, a message taken from a
 * queue by the saver.
 */
#include "harness.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

struct msg { long type; char text[8192]; };
struct queue { key_t key; int mode, uid, gid, limit, id; struct msqid_ds ds; };
static struct queue queues[] = {
	{0x52455449, 0640, 0, 0, 16384, 0, {}}, {IPC_PRIVATE, 0606, 1000, 2000, 5000, 0, {}}, {0x14, 0600, 0, 0, 0, 0, {}}, {-5, 0666, 3, 4, 100, 0, {}},
};
enum { N = sizeof queues / sizeof *queues };
static struct { long type; size_t len; } const messages[] = {{5, 100}, {1, 8192}, {5, 0}, {0x7fffffffffffffffL, 3}, {2, 1000}, {1, 1}};
enum { NMSG = sizeof messages / sizeof *messages };

static void put(int id)
{
	static struct msg m;
	for (int i = 0; i < NMSG; i++) {
		m.type = messages[i].type;
		fill(m.text, messages[i].len, (uint64_t)i);
		CHECK(!msgsnd(id, &m, messages[i].len, IPC_NOWAIT), "msgsnd %d: %s", i, strerror(errno));
	}
}
static void expect(int id, int i, long type)
{
	static struct msg m;
	ssize_t n = msgrcv(id, &m, sizeof m.text, type, IPC_NOWAIT);
	CHECK(n == (ssize_t)messages[i].len && m.type == messages[i].type && verify(m.text, messages[i].len, (uint64_t)i) < 0, "message %d: %zd bytes of type %ld: %s", i, n, m.type, n < 0 ? strerror(errno) : "");
}
static pid_t receiver(int id) /* exits with the first byte of a message of type 99 */
{
	pid_t p = fork();
	if (!p) {
		struct msg m;
		_exit(msgrcv(id, &m, 10, 99, 0) == 1 ? m.text[0] : 200 + (errno == EINTR));
	}
	h_sleep(50 * MS);
	return p;
}

int main(void)
{
	h_init();
	for (int i = 0; i < N; i++) {
		struct queue *q = &queues[i];
		int old = q->key == IPC_PRIVATE ? -1 : msgget(q->key, 0);
		if (old >= 0)
			msgctl(old, IPC_RMID, NULL);
		for (int waste = 0; waste < i; waste++)
			MUST(msgctl(MUST(msgget(IPC_PRIVATE, 0600)), IPC_RMID, NULL));
		q->id = MUST(msgget(q->key, IPC_CREAT | IPC_EXCL | 0600));
		MUST(msgctl(q->id, IPC_STAT, &q->ds));
		q->ds.msg_perm.mode = (unsigned short)q->mode, q->ds.msg_perm.uid = (uid_t)q->uid, q->ds.msg_perm.gid = (gid_t)q->gid;
		q->ds.msg_qbytes = q->limit ? (msglen_t)q->limit : q->ds.msg_qbytes; /* less than the default: more needs a capability */
		MUST(msgctl(q->id, IPC_SET, &q->ds));
		if (i < 1)
			put(q->id);
		MUST(msgctl(q->id, IPC_STAT, &q->ds));
	}
	pid_t kid = receiver(queues[2].id);
	ready();

	for (int round = 1; wait_check(); round++) {
		for (int i = 0; i < N; i++) {
			struct queue *q = &queues[i];
			struct msqid_ds d = {};
			CHECK(q->key == IPC_PRIVATE || msgget(q->key, 0) == q->id, "queue %d: its key gives id %d, not %d", i, msgget(q->key, 0), q->id);
			CHECK(!msgctl(q->id, IPC_STAT, &d), "queue %d (id %d): %s", i, q->id, strerror(errno));
			CHECK(d.msg_perm.__key == q->key && (d.msg_perm.mode & 0777) == (unsigned)q->mode && d.msg_perm.uid == (uid_t)q->uid && d.msg_perm.gid == (gid_t)q->gid && d.msg_perm.cuid == 0, "queue %d: key %x mode %o owner %u:%u creator %u", i, d.msg_perm.__key, d.msg_perm.mode, d.msg_perm.uid, d.msg_perm.gid, d.msg_perm.cuid);
			CHECK(d.msg_qbytes == q->ds.msg_qbytes && d.msg_qnum == q->ds.msg_qnum && d.__msg_cbytes == q->ds.__msg_cbytes, "queue %d: %lu messages, %lu bytes of %lu", i, (unsigned long)d.msg_qnum, (unsigned long)d.__msg_cbytes, (unsigned long)d.msg_qbytes);
		}
		int id = queues[0].id;
		if (round % 2) { /* in the order of sending */
			for (int i = 0; i < NMSG; i++)
				expect(id, i, 0);
		} else { /* by type */
			expect(id, 0, 5), expect(id, 1, -1), expect(id, 5, 1), expect(id, 4, 2), expect(id, 3, 0x7fffffffffffffffL), expect(id, 2, 5);
		}
		struct msg m = {99, "k"};
		CHECK(msgrcv(id, &m, sizeof m.text, 0, IPC_NOWAIT) < 0 && errno == ENOMSG, "more messages than were sent");
		put(id);
		m.type = 99, m.text[0] = 'k';
		int st = -1;
		CHECK(!msgsnd(queues[2].id, &m, 1, IPC_NOWAIT) && WAIT_FOR(waitpid(kid, &st, WNOHANG) == kid) && WEXITSTATUS(st) == 'k', "the waiting receiver ended with %x", st);
		kid = receiver(queues[2].id);
		struct msqid_ds full;
		for (m.type = 1; !msgsnd(queues[1].id, &m, 1000, IPC_NOWAIT);)
			;
		CHECK(!msgctl(queues[1].id, IPC_STAT, &full) && full.msg_qnum == 5, "the limit of 5000 bytes takes %lu messages of 1000", (unsigned long)full.msg_qnum);
		while (msgrcv(queues[1].id, &m, sizeof m.text, 0, IPC_NOWAIT) >= 0)
			;
	}
	for (int i = 0; i < N; i++)
		msgctl(queues[i].id, IPC_RMID, NULL);
	kill(kid, SIGKILL);
	return 0;
}
