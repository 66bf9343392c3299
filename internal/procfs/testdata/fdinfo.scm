pos:	0
flags:	02
mnt_id:	10
ino:	11919
scm_fds: 2
