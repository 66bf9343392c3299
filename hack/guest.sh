#!/bin/bash
# Runs tests of e2e under Debian's own kernel, with cgroups of version 2 alone: in an emulated machine whose disk is made of
# this machine's /usr and /etc. Emulation takes about ten times as long as the tests do here.
#
#   hack/guest.sh BINARY REGEXP [PACKAGE]
#
# BINARY is the rethaw to be tested, REGEXP names the tests ("demo" is the demonstration), PACKAGE is a Debian package of a kernel (linux-image-cloud-amd64).
# CPU is the model that is emulated (Haswell-noTSX), TIMEOUT how many seconds all may take (3600).
set -euo pipefail
binary=$1 tests=$2 package=${3:-linux-image-cloud-amd64}
source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d /var/tmp/rethaw-guest-XXXXXX)
trap 'rm -rf "$work"' EXIT

# The kernel. The package of a version hangs on the one that always names the newest.
versioned=$(apt-cache depends "$package" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
(cd "$work" && apt-get download -q "${versioned:-$package}" && dpkg-deb -x ./*.deb kernel)
modules=$(echo "$work"/kernel/lib/modules/*)

# The first root: what it takes to mount the disk.
first=$work/first
mkdir -p "$first"/{bin,proc,sys,dev,root,first,lib/modules}
cp "$(command -v busybox)" "$first/bin/busybox"
cp -a "$modules" "$first/lib/modules/"
for module in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk crc16 mbcache jbd2 ext4; do
	find "$modules" -name "$module.ko*" -exec cp {} "$first/first/" \;
done
cat >"$first/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for round in 1 2 3; do for file in /first/*; do insmod $file 2>/dev/null; done; done
until [ -b /dev/vda ]; do sleep 1; done
mount -t ext4 /dev/vda /root
mkdir -p /root/usr/lib/modules; cp -a /lib/modules/* /root/usr/lib/modules/
for dir in dev sys proc; do mount --move /$dir /root/$dir; done
exec switch_root /root /bin/bash /guest
END
chmod +x "$first/init"
(cd "$first" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >"$work/first.gz")

# The disk: this machine's programs, the sources, and the tests.
disk=$work/root
mkdir -p "$disk"/{proc,sys,dev,run,tmp,root,usr,etc,mnt,var/tmp,var/lib,source/bin}
for link in /bin /sbin /lib /lib32 /lib64; do [[ -L $link ]] && cp -a "$link" "$disk/"; done
(cd "$source" && tar c --exclude=.git --exclude=./bin .) | tar x -C "$disk/source"
(cd "$source/e2e" && CGO_ENABLED=0 go test -c -o "$disk/source/bin/e2e.test" .)
cp "$binary" "$disk/source/bin/rethaw"
# Programs in C that were compiled before.
[[ -d /var/tmp/rethaw-e2e/cache ]] && mkdir -p "$disk/var/tmp/rethaw-e2e" && cp -a /var/tmp/rethaw-e2e/cache "$disk/var/tmp/rethaw-e2e/"
cat >"$disk/guest" <<END
export PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root RETHAW_E2E_BINARY=/source/bin/rethaw
mount -t tmpfs -o mode=755 run /run; mount -t tmpfs tmp /tmp; mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm; mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/init; echo \$\$ >/sys/fs/cgroup/init/cgroup.procs
for controller in cpu memory pids cpuset io; do echo +\$controller >/sys/fs/cgroup/cgroup.subtree_control; done
depmod -a
for module in overlay unix_diag inet_diag tcp_diag udp_diag raw_diag netlink_diag packet_diag nf_tables nft_chain_nat veth bridge loop tun; do modprobe -q \$module; done
ln -sfn /proc/self/fd /dev/fd; ln -sfn fd/0 /dev/stdin; ln -sfn fd/1 /dev/stdout; ln -sfn fd/2 /dev/stderr
ip link set lo up; hostname guest; ulimit -n 20000
uname -a
cd /source
if [[ '$tests' == demo ]]; then hack/demo.sh bin/rethaw; else cd e2e; ../bin/e2e.test -test.run '$tests' -test.parallel 2 -test.timeout 3h -test.v; fi
echo "guest: \$?"
sync; echo u >/proc/sysrq-trigger; sleep 2; echo o >/proc/sysrq-trigger; sleep 10
END
# In a mount namespace of its own: nothing that removes the directory can ever see what is mounted in it.
size=$(($(du -csm "$disk" /usr /etc | tail -1 | cut -f1) * 13 / 10 + 2048))
unshare --mount bash -euc 'mount --bind /usr "$1/usr"; mount --bind /etc "$1/etc"; mkfs.ext4 -q -F -d "$1" "$2" "$3"' - "$disk" "$work/disk" "${size}M"

timeout "${TIMEOUT:-3600}" qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu "${CPU:-Haswell-noTSX}" -m 6000 -smp 2 \
	-nographic -no-reboot -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/first.gz" \
	-append 'console=ttyS0 panic=1 quiet' -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" 2>/dev/null </dev/null |
	stdbuf -oL tr -d '\r' | tee "$work/log" | grep --line-buffered -v '^=== ' || true
grep -q '^guest: 0$' "$work/log"
