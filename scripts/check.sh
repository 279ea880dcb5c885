#!/usr/bin/env bash
# Lints the module (`check.sh`) or formats it (`check.sh fmt`) with golangci-lint,
# which includes gofumpt and goimports. It is built once per version into bin/tools,
# outside go.mod.
set -euo pipefail

cd "$(dirname "$0")/.."
version=v2.15.0
tool=bin/tools/golangci-lint-$version
if [ ! -x "$tool" ]; then
	echo "building golangci-lint $version (once, about two minutes)" >&2
	mkdir -p bin/tools
	staging=$(mktemp -d bin/tools/build.XXXXXX)
	trap 'rm -rf "$staging"' EXIT
	GOBIN=$PWD/$staging GOFLAGS= go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version"
	mv "$staging/golangci-lint" "$tool"
fi
if [ "${1:-}" = fmt ]; then
	exec "$tool" fmt
fi
"$tool" run --timeout 15m ./...
