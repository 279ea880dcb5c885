#!/usr/bin/env bash
# Runs all tests, on SQLite and on PostgreSQL. None is skipped: a test whose program
# is missing fails and names the program (scripts/setup.sh installs them).
#
# The whole suite runs once without the race detector, which slows SQLite (C
# translated to Go) down tenfold. The packages with goroutines of their own then run
# again with it.
set -euo pipefail

cd "$(dirname "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

# The databases of tests are throw-away, but their commits are synced as in production,
# which takes milliseconds each on a disk and nothing in memory.
shm=/dev/shm
free=$(df -Pk $shm 2>/dev/null | awk 'NR == 2 { print $4 }') || free=0
if [ -z "${TMPDIR:-}" ] && [ "$free" -gt $((8 << 20)) ]; then # KiB
	memory=$(mktemp -d $shm/hostler-test.XXXXXX)
	trap 'rm -rf "$memory"' EXIT
	chmod 755 "$memory" # other users run PostgreSQL and commands
	printf '#!/bin/sh\n' >"$memory/run"
	chmod +x "$memory/run"
	if "$memory/run" 2>/dev/null; then # not mounted noexec
		export GOTMPDIR=${GOTMPDIR:-/tmp} TMPDIR=$memory
	fi
fi

race=(
	.
	./client/...
	./internal/action/...
	./internal/app/...
	./internal/engine/...
	./internal/outbox/...
	./internal/notify/...
	./internal/resolve/...
	./internal/runlog/...
	./internal/server/...
	./internal/sshconn/...
	./internal/wait/...
	./internal/worker/...
)

# The packages that load the whole machine run alone, one after another.
heavy='/internal/(compat|crash|e2e)$'

echo "== every test, both stores"
go list ./... | grep -Ev "$heavy" | xargs go test -timeout 30m
echo "== the built program: journeys, older folders and clients, kills under load"
go list ./... | grep -E "$heavy" | xargs go test -p 1 -timeout 30m

echo "== the concurrent packages again, under the race detector"
CGO_ENABLED=1 go test -race -timeout 30m "${race[@]}"
