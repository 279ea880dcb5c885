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

race=(
	.
	./client/...
	./internal/action/...
	./internal/app/...
	./internal/engine/...
	./internal/outbox/...
	./internal/notify/...
	./internal/runlog/...
	./internal/server/...
	./internal/worker/...
)

# The packages that load the whole machine run alone, one after another.
heavy='/internal/(compat|crash|e2e)$'

echo "== every test, both stores"
go list ./... | grep -Ev "$heavy" | xargs go test -timeout 30m
echo "== the built program: journeys, older folders and clients, kills under load"
go list ./... | grep -E "$heavy" | xargs go test -p 1 -timeout 30m

present=()
for pattern in "${race[@]}"; do
	dir=${pattern%/...}
	[ -d "$dir" ] && present+=("$pattern")
done
echo "== the concurrent packages again, under the race detector"
CGO_ENABLED=1 go test -race -timeout 30m "${present[@]}"
