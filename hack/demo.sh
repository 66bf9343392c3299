#!/bin/bash
# Shows in half a minute what rethaw does: a container counts; it is checkpointed,
# and is gone; it is restored, and counts on from where it was.
set -euo pipefail

rethaw=$(realpath "${1:-bin/rethaw}")
runtime=${RUNTIME:-runc}
work=$(mktemp -d /var/tmp/rethaw-demo.XXXXXX)
name=rethaw-demo-$$
bundle=$work/bundle
root=$work/root

if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' off=$'\e[0m'; else bold='' dim='' off=''; fi

cleanup() {
	"$runtime" --root "$root" delete --force "$name" >/dev/null 2>&1 || true
	rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n%s%s%s\n' "$bold" "$*" "$off"; }

# show prints a command as one would type it, and runs it.
show() {
	printf '%s$ %s%s\n' "$dim" "${*//$work\//}" "$off"
	"$@"
}

# show_start does so with a command that hands its streams to the container.
show_start() {
	printf '%s$ %s%s\n' "$dim" "${*//$work\//} </dev/null >>out 2>&1" "$off"
	"$@" </dev/null >>"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
}

# counted prints the last line of what the container wrote.
counted() { tail -n 1 "$work/out"; }

# wait_past waits until the container has counted past a number.
wait_past() {
	for _ in $(seq 200); do
		(($(counted | tr -dc 0-9 || true) + 0 > $1)) && return
		sleep 0.05
	done
	echo "the container does not count" >&2
	exit 1
}

if ((EUID != 0)); then
	echo "the demo makes a container: please run it as root" >&2
	exit 1
fi

# A bundle: busybox alone, and config.json as the runtime writes it.
mkdir -p "$bundle"/rootfs/{bin,dev,proc,sys,tmp} "$root"
cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
for command in sh sleep; do ln -s busybox "$bundle/rootfs/bin/$command"; done
cat >"$bundle/rootfs/count" <<'END'
n=0
while :; do n=$((n + 1)); echo "count $n"; sleep 0.2; done
END
(cd "$bundle" && "$runtime" spec)
sed -i -e 's/"terminal": true/"terminal": false/' -e 's|^\(\t*\)"sh"$|\1"sh", "/count"|' "$bundle/config.json"

say '1. A container that counts, under plain '"$runtime"
: >"$work/out"
show_start "$runtime" --root "$root" run --detach --bundle "$bundle" "$name"
wait_past 9
counted

say '2. It is checkpointed: all of it goes into an image, and the container is gone'
show "$rethaw" checkpoint --runtime "$runtime" --root "$root" --image "$bundle/checkpoint" "$name"
before=$(counted)
echo "$before"
"$runtime" --root "$root" state "$name" >/dev/null 2>&1 && { echo "the container is still there" >&2; exit 1; }
echo "$runtime knows no such container any more"
du -sh "$bundle/checkpoint" | awk '{print "the image takes " $1}'

say '3. What is in the image'
show "$rethaw" inspect "$bundle/checkpoint"

say '4. A second later it is restored, into a fresh container'
sleep 1
show_start "$rethaw" restore --runtime "$runtime" --root "$root" --bundle "$bundle" --image "$bundle/checkpoint" \
	--detach "$name"
number=$(tr -dc 0-9 <<<"$before")
wait_past $((number + 9))
show "$runtime" --root "$root" list

say '5. It has counted on: not a number is missing, and none comes twice'
tail -n +"$((number - 1))" "$work/out" | head -n 6
if ! diff <(sed -n 's/^count //p' "$work/out") <(seq "$(counted | tr -dc 0-9)") >/dev/null; then
	echo "the numbers are not what they should be:" >&2
	cat "$work/out" >&2
	exit 1
fi
printf '\n%sThe count went on at %d.%s\n' "$bold" "$((number + 1))" "$off"
