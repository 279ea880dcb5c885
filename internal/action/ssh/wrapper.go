package ssh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The wrapper starts a program on a host:
//
//  1. The login shell gets one fixed line (bootLine), which sh, bash, zsh, csh and fish
//     read alike. It becomes /bin/sh, as another user if asked.
//  2. That sh prints "ready" and reads the payload, a text of known length, from
//     standard input. The payload is sent only then: nothing of a job is on a command
//     line, and sh reads nothing too early of what follows on standard input.
//  3. The payload forks a child, which prints "started" with its process id and start
//     time, makes a session of its own and executes the program.
//  4. The program's standard input is sent. The parent sh waits for the program, removes
//     its files and exits with the program's status.
//
// Messages are lines on standard output that begin with the exchange's nonce, before the
// program's own output. Everything else on the two streams is the program's.
const (
	msgReady   = "ready"
	msgStarted = "started"
	// exitSetUp is the exit status of a wrapper that could not set the program up. It
	// is only meaningful when the program was not started.
	exitSetUp = 113
)

// program describes what to run on a host.
type program struct {
	// Exactly one of the three is set: a command line for the user's login shell, a
	// script (run as interpreter, path of the script, args), or an argv.
	command string
	script  *script
	argv    []string

	env   map[string]string
	stdin string

	runAs    string // "": the user of the login
	password string // for sudo; "": sudo must not ask
}

type script struct {
	text        string
	interpreter string
	args        []string
}

// bootLine returns the line for the login shell. It has no quotes but the outer ones, no
// newline and no "!", so that every shell reads it alike.
func bootLine(nonce string, size int, p program) string {
	read := fmt.Sprintf(
		`echo %[1]s %[2]s; _hst_p=$(head -c %[3]d 2>/dev/null || dd bs=1 count=%[3]d 2>/dev/null); `+
			`case $_hst_p in *%[1]s) eval "$_hst_p";; esac; exit %[4]d`,
		nonce, msgReady, size, exitSetUp)
	if p.runAs == "" {
		return "exec /bin/sh -c '" + read + "'"
	}
	return asUser(nonce, p) + " '" + read + "'"
}

// asUser returns the start of a line that runs its last word in sh as another user. With
// a password, sudo asks for it with a prompt that contains the nonce, and does not cache
// it (-k). Where sudo is missing, runuser does the same for root.
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

// payload returns the text that sets the program up, runs it and waits for it. Its
// variables begin with _hst_ so that it changes none of the host's.
//
// The program runs in the foreground: sh starts background jobs with INT and QUIT
// ignored, which a program cannot undo. Messages of sh about a program that a signal
// ended are discarded.
func (p program) payload(nonce string) string {
	var b strings.Builder
	b.WriteString(ownSession)
	p.setUp(&b)
	b.WriteString("exec 4>&2 2>/dev/null\n(\nexec 2>&4 4>&-\n")
	fmt.Fprintf(&b, printStarted, nonce, msgStarted)
	// The argv comes before the job's environment, which could change its expansion.
	fmt.Fprintf(&b, "set -- %s\n", p.words())
	b.WriteString(inOwnSession)
	for _, k := range slices.Sorted(maps.Keys(p.env)) {
		fmt.Fprintf(&b, "export %s=%s\n", k, quote(p.env[k]))
	}
	b.WriteString("exec \"$@\"\n)\nexit $?\n")
	b.WriteString("# " + nonce)
	return b.String()
}

// ownSession finds a command that makes a new session: setsid (util-linux, busybox),
// else perl. Where neither exists, a shell with job control makes at least a process
// group; without it the program shares the group of the login.
const ownSession = `_hst_own=$(command -v setsid || command -v perl)
_hst_shared=
if [ -z "$_hst_own" ]; then
	set -m
	case $- in *m*) ;; *) _hst_shared=1 ;; esac
fi 2>/dev/null
`

// inOwnSession puts the command that ownSession found before the program's argv.
const inOwnSession = `case $_hst_own in
"") ;;
*/perl) set -- "$_hst_own" -e 'use POSIX (); POSIX::setsid(); exec { $ARGV[0] } @ARGV or exit 127' -- "$@" ;;
*) set -- "$_hst_own" "$@" ;;
esac
`

// printStarted prints the process id and start time. /proc/self is the subshell itself,
// as read is a builtin; without /proc a child prints its parent. A program without a
// group of its own prints 0: it cannot be killed as a whole.
const printStarted = `if { read -r _hst_s </proc/self/stat; } 2>/dev/null
then _hst_i=${_hst_s%%%% *}; set -- ${_hst_s##*) }; _hst_t=${20}
else _hst_i=$(exec /bin/sh -c 'echo $PPID'); _hst_t=0
fi
if [ -n "$_hst_shared" ]; then _hst_i=0; fi
echo "%s %s $_hst_i $_hst_t"
`

// setUp writes the lines that prepare what argv refers to.
func (p program) setUp(b *strings.Builder) {
	switch {
	case p.script != nil:
		fmt.Fprintf(b, writeScript, exitSetUp, quote(p.script.text))
	case p.argv == nil:
		b.WriteString(findShell)
	}
}

// writeScript writes the script into a folder that only its user can enter, and removes
// it when the program ends, also when it is killed.
const writeScript = `_hst_u=$(umask)
umask 077
_hst_d=$(mktemp -d "${TMPDIR:-/tmp}/hostler.XXXXXXXXXX") || exit %[1]d
trap 'rm -rf "$_hst_d"' EXIT
trap 'exit 129' HUP
trap 'exit 143' TERM
printf %%s %[2]s >"$_hst_d/script" && chmod 700 "$_hst_d/script" || exit %[1]d
umask "$_hst_u"
`

// findShell finds the user's login shell. A service account, whose shell refuses logins,
// can still run commands through sudo.
const findShell = `_hst_sh=${SHELL:-/bin/sh}
case $_hst_sh in */nologin | */false) _hst_sh=/bin/sh ;; esac
`

// words returns the argv as quoted sh words.
func (p program) words() string {
	switch {
	case p.script != nil:
		return quote(p.script.interpreter) + ` "$_hst_d/script" ` + quoteAll(p.script.args)
	case p.argv != nil:
		return quoteAll(p.argv)
	}
	return `"$_hst_sh" -c ` + quote(p.command)
}

// quote returns any text without NUL as one sh word: inside single quotes only the
// single quote is special (POSIX 2.2.2).
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
