#!/usr/bin/env bash
# Makes the files of this folder anew with an older binary: see ../doc.go. Takes two
# minutes, an sshd and PostgreSQL.
#
# usage: internal/compat/testdata/record.sh BINARY
#
# The binary of a commit: git worktree add /tmp/old COMMIT && cd /tmp/old && make build
set -euo pipefail
binary=$(realpath "${1:?usage: record.sh BINARY}")
cd "$(dirname "$0")/.."
# The folders first: the commands run on a copy of the one for SQLite.
go test -tags record -count=1 -timeout 10m -run '^(TestRecordSQLite|TestRecordPostgres)$' . -args -binary="$binary"
go test -tags record -count=1 -timeout 10m -run '^TestRecordSteps$' . -args -binary="$binary"
