#!/usr/bin/env bash
# One look of a watchdog at the workers and the queue, as shell scripts for
# NetPulse's job API take it: curl and jq. The last line is the verdict.
#
# usage: monitor.sh URL KEY [LEAST_BUSY]
set -euo pipefail

url=$1
key=$2
least=${3:-2}

fetch() {
	curl --silent --show-error --fail --max-time 10 -H "X-API-Key: $key" "$url$1"
}

workers=$(fetch /worker)
total=$(jq '.data | length' <<<"$workers")
mapfile -t busy < <(jq -r '.data[] | select(.status == "busy") | .name' <<<"$workers")
mapfile -t dead < <(jq -r '.data[] | select(.status == "dead") | .name' <<<"$workers")
queued=$(fetch '/job?status=queued' | jq '.data | length')
health=$(fetch /health | jq -r '.data.status')

echo "workers $total, busy ${#busy[@]}, dead ${#dead[@]}, queued $queued, health $health"
if [ ${#dead[@]} -gt 0 ]; then
	echo "alarm: dead: ${dead[*]}"
elif [ ${#busy[@]} -lt "$least" ]; then
	echo "alarm: only ${#busy[@]} busy"
else
	echo "well: ${busy[*]}"
fi
