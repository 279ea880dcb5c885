#!/bin/sh
# What people do with NetPulse's job API from a shell: watch the workers.
set -eu

workers=$(curl -sf -H "X-API-Key: $KEY" "$BASE/worker")
total=$(echo "$workers" | jq '.data | length')
busy=$(echo "$workers" | jq -r '.data[] | select(.status == "busy") | .name')
dead=$(echo "$workers" | jq -r '.data[] | select(.status == "dead") | .name')

echo "total $total"
if [ -n "$dead" ]; then
	echo "ALARM dead: $dead"
fi
if [ "$(echo "$busy" | grep -c .)" -lt 2 ]; then
	echo "ALARM fewer than two busy"
fi
