package ssh

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/action"
)

// process identifies a started program on its host.
type process struct {
	pid   int
	start string // start time in clock ticks since boot; "0" where unknown
}

// killOutcome is what killing a program led to.
type killOutcome int

const (
	killUnverified killOutcome = iota // not verified, or a process of it is left
	killDone                          // killed, and no process is left
	killNotNeeded                     // no process was left before the first signal
)

// killTemplate ends a process group and session: TERM, a grace time, KILL, and a check
// that no process is left. Zombies count as dead. A process with the same number but
// another start time is a different one and is left alone; the kernel does not reuse the
// number while a process of the group is alive. Processes of other users that /proc
// hides still answer kill -0 with "not permitted".
const killTemplate = `LC_ALL=C
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
_hst_end "running $(_hst_ours)"
`

// kill ends a program, as the user that it runs as, and verifies that no process of it is
// left; otherwise it returns the reason. The job's own context has ended by then, so this
// has a timeout of its own.
func (h *host) kill(ctx context.Context, p program, target process) (killOutcome, hostler.Text) {
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
	answer := strings.TrimSpace(out.String())
	switch {
	case ctx.Err() != nil:
		return killUnverified, hostler.Text{
			EN: "no second session could be opened in time", ZH: "未能及时打开第二个会话",
		}
	case err != nil:
		return killUnverified, action.AsFault(err).Text
	case answer == "killed":
		return killDone, hostler.Text{}
	case answer == "ended":
		return killNotNeeded, hostler.Text{}
	}
	return killUnverified, killAnswer(answer, strings.TrimSpace(errs.String()))
}

// killAnswer describes what a kill script printed that left processes running, or did not run
// to its end.
func killAnswer(answer, errs string) hostler.Text {
	switch pids, ok := strings.CutPrefix(answer, "running"); {
	case ok && pids == "": // /proc hides processes of another user
		return hostler.Text{EN: "processes of another user are still running", ZH: "其他用户的进程仍在运行"}
	case ok:
		return hostler.Textf("still running: %s", "仍在运行：%s", strings.TrimSpace(pids))
	}
	answer = strings.TrimSpace(answer + " " + errs)
	return hostler.Text{EN: answer, ZH: answer}
}

func killScript(target process, grace time.Duration) string {
	return fmt.Sprintf(killTemplate, target.pid, quote(target.start), max(1, grace.Milliseconds()/100))
}

// parseProcess parses the words of a "started" message. The zero process cannot be
// killed: the program has no group of its own, or the message is malformed.
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

// unverified returns the fault of a stopped job whose program may still run.
func unverified(ctx context.Context, h *host, target process, why hostler.Text) *action.Fault {
	stop := hostler.Text{EN: "cancelled", ZH: "已取消"}
	if action.TimedOut(ctx) {
		stop = action.TimeoutText(ctx)
	}
	f := action.NewUnknownFault(hostler.ErrKindUnverified, "", "")
	f.Text = hostler.Text{
		EN: fmt.Sprintf("%s, but process group %d on %s could not be verified to be gone: %s",
			stop.EN, target.pid, h.HostPort(), why.EN),
		ZH: fmt.Sprintf("%s，但无法确认 %s 上的进程组 %d 已结束：%s",
			stop.ZH, h.HostPort(), target.pid, why.ZH),
	}
	return f
}
