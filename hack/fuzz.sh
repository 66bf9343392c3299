#!/bin/bash
# Runs every fuzz target of the repository, or of the named packages, one after the
# other, for the given time each.
set -euo pipefail
time=${1:-20s}
shift || true
(($#)) || set -- ./...
for package in $(go list "$@"); do
	while read -r target; do
		[[ $target == Fuzz* ]] || continue
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package"
	done < <(go test -list '^Fuzz' "$package")
done
