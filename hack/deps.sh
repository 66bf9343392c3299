#!/bin/bash
# Installs, on a Debian machine, the packages of the named sets that are missing:
#   go    the Go toolchain, unless one is in PATH or /usr/local/go
#   demo  a runtime and a small system for a container
#   test  the compilers and the real programs of the end-to-end tests
#   guest  what runs these under another kernel
# It is quiet unless it has to install something, and starts no service.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="/usr/local/go/bin:$PATH"

missing=()
newgo=
temporary=()
trap '((${#temporary[@]})) && rm -rf "${temporary[@]}"' EXIT

# new_enough tells whether there is a Go toolchain that reads go.mod: one of that
# version, or one that fetches it by itself (1.21 and later).
new_enough() {
	local have
	have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || have=$(go version 2>/dev/null | awk '{print $3}')
	[[ -n $have ]] && printf '%s\n' 1.21 "${have#go}" | sort -CV
}

# need COMMAND-OR-FILE PACKAGE...: the package is installed where the former is missing.
need() {
	local what=$1
	shift
	if [[ $what == /* ]]; then
		compgen -G "$what" >/dev/null || missing+=("$@")
	else
		PATH="$PATH:/usr/sbin:/sbin" command -v "$what" >/dev/null || missing+=("$@")
	fi
}

for set in "$@"; do
	case $set in
	go)
		need /etc/ssl/certs/ca-certificates.crt ca-certificates
		if ! new_enough; then
			newgo=yes
			need go golang-go
			need gcc gcc libc6-dev
		fi
		;;
	demo)
		need runc runc
		need /bin/busybox busybox-static
		;;
	guest)
		need qemu-system-x86_64 qemu-system-x86
		need depmod kmod
		need mkfs.ext4 e2fsprogs
		;;
	test)
		need gcc gcc
		need '/usr/include/*/sys/types.h' libc6-dev
		need redis-server redis-server
		need redis-cli redis-tools
		need nginx nginx-light
		need '/usr/lib/postgresql/*/bin/postgres' postgresql
		need /usr/bin/python3 python3-minimal
		need '/usr/lib/python3*/asyncio/__init__.py' python3
		need node nodejs
		need javac openjdk-17-jdk-headless
		need podman podman
		need conmon conmon
		need /usr/lib/podman/netavark netavark aardvark-dns
		need iptables iptables
		need crun crun
		need containerd containerd
		need ctr containerd
		need memcached memcached
		need haproxy haproxy
		need mosquitto mosquitto
		need ruby ruby
		need php php-cli
		need '/usr/lib/*/perl/5*/Time/HiRes.pm' perl
		need tmux tmux
		need screen screen
		need dbus-daemon dbus-daemon
		need dbus-monitor dbus-bin
		need sshd openssh-server
		need ssh-keygen openssh-client
		;;
	*)
		echo "deps.sh: no set called $set" >&2
		exit 2
		;;
	esac
done

install_packages() {
	((${#missing[@]})) || return 0

	if ! command -v apt-get >/dev/null; then
		echo "please install: ${missing[*]}" >&2
		exit 1
	fi
	if ((EUID != 0)); then
		echo "these packages are missing, and only root may install them: ${missing[*]}" >&2
		exit 1
	fi

	# Servers come with a service each, which a test machine does not want running:
	# where nobody has said otherwise, it is forbidden for as long as we install.
	local policy=/usr/sbin/policy-rc.d
	if [[ ! -e $policy ]]; then
		temporary+=("$policy")
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 0755 "$policy"
	fi

	local log
	log=$(mktemp)
	temporary+=("$log")
	echo "installing: ${missing[*]}" >&2
	export DEBIAN_FRONTEND=noninteractive
	if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
		cat "$log" >&2
		echo "could not install: ${missing[*]}" >&2
		exit 1
	fi
}

# fetch_go takes the toolchain that go.mod asks for out of Go's module proxy, by means
# of an older one, and puts it where Go's own installation guide does. The module is
# checked against Go's checksum database like any other.
fetch_go() {
	local want cache
	want=$(sed -n 's/^go //p' go.mod)
	cache=$(mktemp -d)
	temporary+=("$cache")
	echo "fetching Go $want, for $(go version | awk '{print $3}') is too old" >&2
	(cd "$cache" && GOMODCACHE=$cache GOFLAGS=-modcacherw go mod download \
		"golang.org/toolchain@v0.0.1-go$want.linux-$(go env GOARCH)")
	rm -rf /usr/local/go
	mv "$cache"/golang.org/toolchain@* /usr/local/go
	chmod -R u+w /usr/local/go
	chmod 0755 /usr/local/go/bin/* /usr/local/go/pkg/tool/*/*
}

install_packages
if [[ -n $newgo ]] && ! new_enough; then fetch_go; fi

# The modules are fetched here, where it can be done without a line for each.
modules=$(go env GOMODCACHE)
if [[ ! -d $modules/cache/download/github.com ]]; then
	echo "fetching Go modules" >&2
	go list -deps -test ./... >/dev/null 2>&1 || true
fi
