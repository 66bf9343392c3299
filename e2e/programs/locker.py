"""Holds locks as programs do, and does what it is told through a FIFO: a transaction of SQLite that is not
committed, a lock that a shell has taken by flock(1), a flock(1) that waits for it, a lock on standard output."""

import fcntl
import os
import sqlite3
import subprocess
import sys

db = sqlite3.connect("/data/db", isolation_level=None)
db.execute("create table t (v text)")
db.execute("insert into t values ('before')")
db.execute("begin immediate")
db.execute("insert into t values (?)", (sys.argv[1],))
holder = subprocess.Popen(["sh", "-c", "exec 9>/data/lock; flock 9; echo yes >/state/locked; exec sleep 1000000"])
while not os.path.exists("/state/locked"):
    os.sched_yield()
waiter = subprocess.Popen(["flock", "/data/lock", "sh", "-c", "echo turn >/state/turn"])
fcntl.flock(1, fcntl.LOCK_EX)


def tell(text):
    with open("/state/answer.tmp", "w") as f:
        f.write(str(text) + "\n")
    os.rename("/state/answer.tmp", "/state/answer")


def commit():
    db.execute("commit")
    return db.execute("select group_concat(v) from t").fetchone()[0]


def release():
    holder.kill()
    holder.wait()
    return waiter.wait()


os.mkfifo("/state/in")
commands = os.open("/state/in", os.O_RDWR)
tell("ready")
while True:
    name = b""
    while not name.endswith(b"\n"):
        name += os.read(commands, 1)
    tell({"commit": commit, "release": release}[name.decode().strip()]())
