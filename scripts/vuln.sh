#!/usr/bin/env bash
# Looks for known vulnerabilities that the code reaches, in its libraries and in Go, with
# govulncheck. It needs the database at VULNDB: https://vuln.go.dev, a mirror, or a copy
# (file:///…). Where that cannot be read it fails: nothing was checked. govulncheck is built
# once per version into bin/tools, outside go.mod.
set -euo pipefail

cd "$(dirname "$0")/.."
version=v1.1.4
tool=bin/tools/govulncheck-$version
if [ ! -x "$tool" ]; then
	mkdir -p bin/tools
	staging=$(mktemp -d bin/tools/build.XXXXXX)
	trap 'rm -rf "$staging"' EXIT
	GOBIN=$PWD/$staging GOFLAGS= go install "golang.org/x/vuln/cmd/govulncheck@$version"
	mv "$staging/govulncheck" "$tool"
fi
if ! "$tool" -db "${VULNDB:-https://vuln.go.dev}" ./...; then
	echo "hostler: NOT CHECKED, or vulnerable; see above (VULNDB=URL names another database)" >&2
	exit 1
fi
