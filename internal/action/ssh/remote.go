package ssh

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// How a program comes to run on a host:
//
//	1. The login shell gets one fixed line (bootLine), the same in every shell:
//	   sh, bash, zsh, csh, fish. It becomes /bin/sh, as another user if need be.
//	2. That sh says "ready" and reads the payload, a text of known length, from
//	   standard input. Only then it is sent: nothing of a job stands on a command
//	   line that other users of the host can list, and nothing that follows on
//	   standard input is read too early.
//	3. The payload forks a child, which says "started" with its process id and
//	   start time, makes a session of its own and becomes the program.
//	4. The program's standard input is sent. The sh that stayed waits for the
//	   program, cleans up and exits with the program's status.
//
// What the host says to Hostler are lines on standard output that begin with
// the exchange's nonce, before the program's own output; all else on the two
// streams is the program's.

const (
	sayReady   = "ready"
	sayStarted = "started"
	// exitSetUp is the status of a wrapper that could not set the program up. It
	// counts only when the program was not started.
	exitSetUp = 113
)

// program is what shall run on a host.
type program struct {
	// Exactly one of the three: a command line for the user's login shell, a
	// script with the argv that runs it (the script's path is appended, then
	// args), or an argv.
	command string
	script  *script
	argv    []string

	env   map[string]string
	stdin string

	runAs    string // "" is the user who logs in
	password string // for sudo; "" when sudo must not ask
}

type script struct {
	text        string
	interpreter string
	args        []string
}

// bootLine is the line for the login shell. It holds no quote but the outer
// ones, no newline and no "!", so that every shell reads it alike.
func bootLine(nonce string, size int, p program) string {
	read := fmt.Sprintf(
		`echo %[1]s %[2]s; _hst_p=$(head -c %[3]d 2>/dev/null || dd bs=1 count=%[3]d 2>/dev/null); `+
			`case $_hst_p in *%[1]s) eval "$_hst_p";; esac; exit %[4]d`,
		nonce, sayReady, size, exitSetUp)
	if p.runAs == "" {
		return "exec /bin/sh -c '" + read + "'"
	}
	return asUser(nonce, p) + " '" + read + "'"
}

// asUser begins a line that runs its last word with sh as another user. With a
// password, sudo asks for it by a prompt that only this exchange knows, and
// forgets it again (-k). Where root has no sudo, runuser does.
func asUser(nonce string, p program) string {
	ask := "-n"
	if p.password != "" {
		ask = "-k -S -p " + promptOf(nonce)
	}
	return fmt.Sprintf(
		`exec /bin/sh -c 'command -v sudo >/dev/null || `+
			`{ HOME=~%[1]s; export HOME; exec runuser -u %[1]s -- /bin/sh -c "$0"; }; `+
			`exec sudo %[2]s -H -u %[1]s -- /bin/sh -c "$0"'`, p.runAs, ask)
}

func promptOf(nonce string) string { return nonce + ":password:" }

// payload is the text that sets the program up, runs it and waits for it. Names
// begin with _hst_ so that no variable of the host's is changed.
//
// The program runs in the foreground, as sh starts what is in the background
// with INT and QUIT ignored, which no program could undo. What sh says of a
// program that a signal ended goes nowhere.
func (p program) payload(nonce string) string {
	var b strings.Builder
	b.WriteString(ownSession)
	p.setUp(&b)
	b.WriteString("exec 4>&2 2>/dev/null\n(\nexec 2>&4 4>&-\n")
	fmt.Fprintf(&b, tellStarted, nonce, sayStarted)
	// The argv is complete before the environment is the job's.
	fmt.Fprintf(&b, "set -- %s\n", p.words())
	b.WriteString(inOwnSession)
	for _, k := range sortedKeys(p.env) {
		fmt.Fprintf(&b, "export %s=%s\n", k, quote(p.env[k]))
	}
	b.WriteString("exec \"$@\"\n)\nexit $?\n")
	b.WriteString("# " + nonce)
	return b.String()
}

// ownSession finds what makes a session of its own: setsid (util-linux,
// busybox), else perl. Where neither exists, a shell with job control makes at
// least a process group; one without it has the program share the login's.
const ownSession = `_hst_own=$(command -v setsid || command -v perl)
_hst_shared=
if [ -z "$_hst_own" ]; then
	set -m
	case $- in *m*) ;; *) _hst_shared=1 ;; esac
fi 2>/dev/null
`

// inOwnSession puts what ownSession found before the program's argv.
const inOwnSession = `case $_hst_own in
"") ;;
*/perl) set -- "$_hst_own" -e 'use POSIX (); POSIX::setsid(); exec { $ARGV[0] } @ARGV or exit 127' -- "$@" ;;
*) set -- "$_hst_own" "$@" ;;
esac
`

// tellStarted names the process and its start time. /proc/self is the subshell
// itself, as read is built in; elsewhere a child asks for its parent. A program
// without a group of its own has no number: it cannot be killed as a whole.
const tellStarted = `if { read -r _hst_s </proc/self/stat; } 2>/dev/null
then _hst_i=${_hst_s%%%% *}; set -- ${_hst_s##*) }; _hst_t=${20}
else _hst_i=$(exec /bin/sh -c 'echo $PPID'); _hst_t=0
fi
if [ -n "$_hst_shared" ]; then _hst_i=0; fi
echo "%s %s $_hst_i $_hst_t"
`

// setUp prepares what the words name.
func (p program) setUp(b *strings.Builder) {
	switch {
	case p.script != nil:
		fmt.Fprintf(b, placeScript, exitSetUp, quote(p.script.text))
	case p.argv == nil:
		b.WriteString(findShell)
	}
}

// placeScript puts the script into a folder that only its user can enter,
// removed when the program is over, also when it was killed.
const placeScript = `_hst_u=$(umask)
umask 077
_hst_d=$(mktemp -d "${TMPDIR:-/tmp}/hostler.XXXXXXXXXX") || exit %[1]d
trap 'rm -rf "$_hst_d"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
printf %%s %[2]s >"$_hst_d/script" && chmod 700 "$_hst_d/script" || exit %[1]d
umask "$_hst_u"
`

// findShell finds the user's login shell. An account whose shell lets nobody in
// still runs commands for sudo.
const findShell = `_hst_sh=${SHELL:-/bin/sh}
case $_hst_sh in */nologin | */false) _hst_sh=/bin/sh ;; esac
`

// words is the argv as sh words.
func (p program) words() string {
	switch {
	case p.script != nil:
		return quote(p.script.interpreter) + ` "$_hst_d/script" ` + quoteAll(p.script.args)
	case p.argv != nil:
		return quoteAll(p.argv)
	}
	return `"$_hst_sh" -c ` + quote(p.command)
}

// quote makes one sh word of any text without NUL: inside single quotes only
// the single quote is special (POSIX 2.2.2).
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
