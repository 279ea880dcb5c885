#!/usr/bin/env bash
# Checks the programs that `make run` or `make test` needs, lists the missing ones
# and, as root on Debian or Ubuntu, installs them. It starts no system service: the
# tests run their own sshd and PostgreSQL as child processes, on free ports.
#
# usage: scripts/setup.sh run|test
set -euo pipefail

cd "$(dirname "$0")/.."
mode=${1:-run}
case $mode in
run | test) ;;
*)
	echo "usage: scripts/setup.sh run|test" >&2
	exit 2
	;;
esac

# The Go version of go.mod. An older Go (1.21 or later) downloads it by itself unless
# GOTOOLCHAIN=local forbids it.
need_go=$(awk '$1 == "go" { print $2; exit }' go.mod)
go_hint="get it from https://go.dev/dl/ (a distribution's own package is often too old)"
if ! command -v go >/dev/null; then
	echo "hostler: Go $need_go or later is missing; $go_hint" >&2
	exit 1
fi
if ! have_go=$(go env GOVERSION 2>&1); then
	echo "hostler: Go $need_go or later is needed: $have_go; $go_hint" >&2
	exit 1
fi
if [ "$(printf '%s\n' "${have_go#go}" "$need_go" | sort -V | head -n 1)" != "$need_go" ]; then
	echo "hostler: Go $need_go or later is needed, this is $have_go; $go_hint" >&2
	exit 1
fi
[ "$mode" = test ] || exit 0

# The programs that the tests run, and their Debian packages.
missing=()
need() { # need PACKAGE COMMAND…
	local package=$1 command
	shift
	for command; do
		if ! PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null; then
			missing+=("$package")
			return
		fi
	done
}
need openssh-server sshd
need openssh-client ssh-keygen
need sudo sudo
need procps ps pgrep
need jq jq
need curl curl
need python3 python3
need strace strace
need gcc gcc # the race detector needs cgo
need git git
need iputils-ping ping
need mariadb-server mariadbd
need mariadb-client mariadb-dump
need redis-server redis-server
need prometheus promtool # checks the files of deploy/prometheus
need systemd systemd-analyze
if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && ! command -v initdb >/dev/null; then
	missing+=(postgresql)
fi
if ! python3 -c 'import requests' >/dev/null 2>&1; then
	missing+=(python3-requests)
fi
if [ ! -e /usr/include/stdlib.h ]; then
	missing+=(libc6-dev)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "hostler: the tests need these missing packages: ${missing[*]}" >&2
	echo "hostler: install them (Debian, Ubuntu: sudo apt-get install ${missing[*]}), then run the command again" >&2
	exit 1
fi

# Packages start their services on installation unless policy-rc.d (Debian
# Policy §9.3.3.1) forbids it. This one exists only while apt-get runs.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
echo "hostler: installing ${missing[*]} (their services are not started)" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y --no-install-recommends "${missing[@]}"
