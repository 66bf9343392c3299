"""Holds what even --file-locks cannot save: a lock that only the mapping of another process keeps, a lease that another is about to break,
leases on a tmpfs and on a deleted file. Tells whenever one of them is not as it was."""

import fcntl
import mmap
import os
import signal
import subprocess
import time

signal.signal(signal.SIGIO, lambda *_: None)


def make(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, 4096)
    return fd


fd = make("/data/mapped")
fcntl.flock(fd, fcntl.LOCK_EX)
area = mmap.mmap(fd, 4096)
os.close(fd)  # that of mmap.mmap stays: it is a duplicate
for n in os.listdir("/proc/self/fd"):
    if os.path.exists(f"/proc/self/fd/{n}") and os.readlink(f"/proc/self/fd/{n}") == "/data/mapped":
        os.close(int(n))
if os.fork() == 0:
    signal.pause()
area.close()
os.close(make("/data/leased"))
leased = os.open("/data/leased", os.O_RDONLY)
fcntl.fcntl(leased, fcntl.F_SETLEASE, fcntl.F_RDLCK)
memory = make("/dev/shm/leased")
fcntl.fcntl(memory, fcntl.F_SETLEASE, fcntl.F_WRLCK)
gone = make("/data/gone")
os.unlink("/data/gone")
fcntl.fcntl(gone, fcntl.F_SETLEASE, fcntl.F_WRLCK)
subprocess.run(["sh", "-c", "exec dd if=/dev/null of=/data/leased oflag=nonblock conv=notrunc"], stderr=subprocess.DEVNULL)
with open("/state/ready.tmp", "w") as f:
    f.write("yes")
os.rename("/state/ready.tmp", "/state/ready")
while fcntl.fcntl(memory, fcntl.F_GETLEASE) == fcntl.F_WRLCK and fcntl.fcntl(gone, fcntl.F_GETLEASE) == fcntl.F_WRLCK:
    time.sleep(0.05)
with open("/state/broken", "w") as f:
    f.write("a lease was broken")
