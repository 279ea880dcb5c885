package ssh

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
)

// process is a started program, as its host names it.
type process struct {
	pid   int
	start string // start time in clock ticks since boot; "0" where unknown
}

// fate is what became of a program that was to be killed.
type fate int

const (
	fateUnseen fate = iota // nobody could look, or something of it lives
	fateKilled             // it was killed, nothing of it lives
	fateEnded              // nothing of it lived before the first signal
)

// killText ends a process group and session: TERM, a grace time, KILL, and a
// look whether anything lives. Zombies count as dead. The number of a process
// that has another start time now belongs to somebody else and is left alone; as
// long as a process of the group lives, the kernel gives the number to nobody.
// Processes of other users that /proc hides still answer kill -0 with "not
// permitted".
const killText = `LC_ALL=C
export LC_ALL
_hst_p=%[1]d
_hst_t=%[2]s
_hst_ours() {
	if [ -r /proc/self/stat ] && command -v awk >/dev/null; then
		cat /proc/[0-9]*/stat 2>/dev/null | awk -v p="$_hst_p" -v t="$_hst_t" '
			{ pid = $1; sub(/^.*\) /, "") }
			pid == p && $20 != t { other = 1 }
			$1 == "Z" || $1 == "X" { next }
			$3 == p || $4 == p || pid == p { live = live " " pid }
			END { if (!other) print substr(live, 2) }'
	elif kill -0 "-$_hst_p" 2>/dev/null; then
		echo "-$_hst_p"
	fi
}
_hst_kill() {
	for _hst_q in $(_hst_ours); do kill -"$1" "$_hst_q"; done 2>/dev/null
}
_hst_gone() {
	[ -z "$(_hst_ours)" ] && case $(kill -0 "-$_hst_p" 2>&1) in *ermitted*) return 1 ;; esac
}
_hst_wait() {
	_hst_n=$1
	until _hst_gone; do
		[ "$_hst_n" -gt 0 ] || return 1
		_hst_n=$((_hst_n - 1))
		if [ -n "$2" ]; then _hst_kill "$2"; fi
		sleep 0.1 2>/dev/null || { sleep 1; _hst_n=$((_hst_n - 9)); }
	done
}
_hst_end() { echo "$1"; exit 0; }
if _hst_gone; then _hst_end ended; fi
_hst_kill TERM
_hst_kill CONT
if _hst_wait %[3]d; then _hst_end killed; fi
if _hst_wait 50 KILL; then _hst_end killed; fi
_hst_end "alive $(_hst_ours)"
`

// kill ends a program and looks whether anything of it lives, as the user that
// it runs as. The job's own context is over by then; this takes its own time.
func (h *host) kill(ctx context.Context, p program, target process) (fate, string) {
	grace := h.family.opts.KillGrace
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace+h.family.opts.KillWait)
	defer cancel()
	var out, errs tail
	killer := program{
		argv:  []string{"/bin/sh", "-c", killScript(target, grace)},
		runAs: p.runAs, password: p.password,
	}
	x := h.exchange(killer, &out, &errs)
	x.urgent = true
	_, err := x.run(ctx)
	verdict := strings.TrimSpace(out.String())
	switch {
	case ctx.Err() != nil:
		return fateUnseen, "no second session could be used in time"
	case err != nil:
		return fateUnseen, asFault(err).text.EN
	case verdict == "killed":
		return fateKilled, ""
	case verdict == "ended":
		return fateEnded, ""
	}
	return fateUnseen, strings.TrimSpace(verdict + " " + errs.String())
}

func killScript(target process, grace time.Duration) string {
	return fmt.Sprintf(killText, target.pid, quote(target.start), max(1, grace.Milliseconds()/100))
}

// parseProcess reads what a child says of itself. The zero process cannot be
// killed: the child has no group of its own, or what it says is no sense.
func parseProcess(words []string) process {
	if len(words) != 2 {
		return process{}
	}
	pid, err := strconv.Atoi(words[0])
	_, terr := strconv.ParseUint(words[1], 10, 64)
	if err != nil || terr != nil || pid <= 1 {
		return process{}
	}
	return process{pid: pid, start: words[1]}
}

// unverified makes the fault of a program that may still run.
func unverified(ctx context.Context, h *host, target process, why string) *fault {
	stop := hostler.Text{EN: "cancelled", ZH: "已取消"}
	if timedOut(ctx) {
		stop = hostler.Text{EN: "timed out", ZH: "已超时"}
	}
	f := unknown(hostler.ErrKindUnverified, "", "")
	f.text = hostler.Text{
		EN: fmt.Sprintf("%s, but it could not be seen that process group %d on %s is gone: %s",
			stop.EN, target.pid, h.route.addr, why),
		ZH: fmt.Sprintf("%s，但无法确认 %s 上的进程组 %d 已结束：%s",
			stop.ZH, h.route.addr, target.pid, why),
	}
	return f
}
