#!/bin/bash
# Runs every fuzz target of the repository, or of the named packages, one after the
# other, for the given time each. Little of it goes into making inputs shorter: that takes a minute
# for each one otherwise.
set -euo pipefail
time=${1:-20s}
shift || true
(($#)) || set -- ./...
for package in $(go list "$@"); do
	while read -r target; do
		[[ $target == Fuzz* ]] || continue
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x "$package"
	done < <(go test -list '^Fuzz' "$package")
done
