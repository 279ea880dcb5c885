package channel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
)

// Values are what the look-ups of a template find, by name; see [Names].
type Values map[string]string

// names are the look-ups of a template, and what they are in the sample of a preview.
var names = map[string]string{
	"project": "default", "event.type": "", "event.text": "", "event.at": "2026-01-31 10:00:00 UTC",
	"subject": "", "object": "", "by": "alice", "text": "",
	"job.id": "job_01m8x4c7t2q", "job.action": "check_port", "job.asset": "web1", "job.queue": "default",
	"job.state": "", "job.error": "connection refused", "job.result": "port 22 closed",
	"run.id": "run_01m8x4c7t2r", "requester": "", "summary": "", "link": "",
}

// Names lists the look-ups that a template may have.
func Names() []string { return slices.Sorted(maps.Keys(names)) }

// linkLookup is the one value that is a link: Hostler's own, to a page that asks.
const linkLookup = "link"

// textLookup is the one value that may have several lines: the text of a step.
const textLookup = "text"

// Template is the title and the text of the messages of a channel.
//
// ${{ name }} is replaced by a value; $${{ stands for ${{ itself. There are no
// expressions and no other syntax. A line whose look-ups are all empty is left out, so
// that one template serves events with different values.
type Template struct{ Title, Text string }

// defaults are the templates of a language.
var defaults = map[hostler.Lang]Template{
	hostler.LangEN: {
		"Hostler: ${{ subject }}",
		"${{ text }}\n${{ summary }}\nRequester: ${{ requester }}\nDecide: ${{ link }}\nObject: ${{ object }}\nJob: ${{ job.id }}\nRun: ${{ run.id }}\nBy: ${{ by }}\n" +
			"At: ${{ event.at }}\nResult: ${{ job.result }}\nError: ${{ job.error }}",
	},
	hostler.LangZH: {
		"Hostler：${{ subject }}",
		"${{ text }}\n${{ summary }}\n发起人：${{ requester }}\n审批：${{ link }}\n对象：${{ object }}\n作业：${{ job.id }}\n批次：${{ run.id }}\n操作者：${{ by }}\n" +
			"时间：${{ event.at }}\n结果：${{ job.result }}\n错误：${{ job.error }}",
	},
}

// Or returns the template with the default of a language for what it does not have.
func (t Template) Or(lang hostler.Lang) Template {
	d, ok := defaults[lang]
	if !ok {
		d = defaults[hostler.LangEN]
	}
	if t.Title == "" {
		t.Title = d.Title
	}
	if t.Text == "" {
		t.Text = d.Text
	}
	return t
}

// Check reports look-ups that are not of the form ${{ name }} or have an unknown name.
func (t Template) Check(fields *check.Fields) {
	for _, part := range []struct{ path, text string }{{"title", t.Title}, {"text", t.Text}} {
		expand(part.text, func(name string) string {
			if _, known := names[name]; !known {
				fields.Add(part.path, "has an unknown look-up: use ${{ name }} with one of %s",
					"含有未知的取值：请使用 ${{ 名称 }}，名称为 %s 之一", strings.Join(Names(), ", "))
			}
			return ""
		})
	}
}

// Render returns the message of a template, with the values escaped for a kind.
func (k Kind) Render(t Template, v Values) Message {
	lookUp := func(name string) string {
		switch name {
		case textLookup:
			return k.EscapeLines(v[name])
		case linkLookup:
			return v[name]
		}
		return k.Escape(v[name])
	}
	title, _, _ := expand(t.Title, func(name string) string { return k.Escape(v[name]) })
	var lines []string
	for l := range strings.SplitSeq(strings.ReplaceAll(t.Text, "\r\n", "\n"), "\n") {
		text, any, some := expand(l, lookUp)
		if some || !any {
			lines = append(lines, text)
		}
	}
	return Message{Title: line(title), Text: strings.Join(lines, "\n"), Values: v}
}

// expand replaces the look-ups of a text. any reports that it has one, some that one of
// them is not empty. A look-up without an end is literal text to lookUp's caller: it is
// passed to lookUp as a name that does not exist.
func expand(s string, lookUp func(name string) string) (out string, any, some bool) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "${{")
		if !found {
			b.WriteString(s)
			return b.String(), any, some
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(literal + "${{")
			s = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			name, after = "${{", ""
		}
		value := lookUp(strings.TrimSpace(name))
		any, some = true, some || value != ""
		b.WriteString(before + value)
		s = after
	}
}

// maxMerged is how many events a merged message shows.
const maxMerged = 10

// Event is one of the events of a merged message.
type Event struct {
	Type    hostler.EventType
	Subject string
}

// rank orders the lines of a merged message: what is written for people or asks them, then
// what went wrong, then the rest.
func (e Event) rank() int {
	switch e.Type {
	case hostler.EventRunMessage, hostler.EventApprovalRequested, hostler.EventAlertFiring, hostler.EventJobUnknown:
		return 0
	case hostler.EventJobFailed, hostler.EventRunFailed, hostler.EventWorkerLost:
		return 1
	default:
		return 2
	}
}

// Merge returns the message for several events, which says how many there are.
// waiting is how many others wait for the next message.
func (k Kind) Merge(events []Event, waiting int, lang hostler.Lang) Message {
	types := map[string]int{}
	for _, e := range events {
		types[string(e.Type)]++
	}
	parts := make([]string, 0, len(types))
	for _, t := range slices.Sorted(maps.Keys(types)) {
		parts = append(parts, fmt.Sprintf("%s × %d", t, types[t]))
	}
	lines := []string{strings.Join(parts, ", ")}
	events = slices.SortedStableFunc(slices.Values(events), func(a, b Event) int { return cmp.Compare(a.rank(), b.rank()) })
	for i, e := range events {
		if i == maxMerged {
			lines = append(lines, hostler.Textf("… and %d more", "……另有 %d 个", len(events)-i).In(lang))
			break
		}
		lines = append(lines, "- "+truncate(k.Escape(e.Subject), 200))
	}
	if waiting > 0 {
		lines = append(lines, hostler.Textf("%d more events are waiting for the next message",
			"另有 %d 个事件等待下一条消息", waiting).In(lang))
	}
	title := hostler.Textf("Hostler: %d events in one message", "Hostler：%d 个事件合并为一条消息", len(events)).In(lang)
	return Message{Title: title, Text: strings.Join(lines, "\n"), Values: Values{"count": fmt.Sprint(len(events))}}
}

// Sample returns the values of an event for a preview.
func Sample(t hostler.EventType, lang hostler.Lang) Values {
	v := maps.Clone(names)
	v["event.type"] = string(t)
	for _, e := range hostler.EventCatalogue() {
		if e.Type == t {
			v["event.text"] = e.Text.In(lang)
		}
	}
	kind, state, _ := strings.Cut(string(t), ".")
	if kind == "job" {
		v["job.state"] = state
		v["subject"] = v["job.action"] + " @ " + v["job.asset"] + " " + StateText(hostler.State(state)).In(lang)
		if hostler.State(state) == hostler.StateSucceeded {
			v["job.error"] = ""
		}
		return v
	}
	for name := range v {
		if strings.HasPrefix(name, "job.") || name == "run.id" {
			v[name] = ""
		}
	}
	v["subject"], v["object"] = string(t), kind+"1"
	if t == hostler.EventApprovalRequested {
		v["requester"], v["summary"] = "alice", "QA passed? · game-update → open (ssh_command × 2)"
		v["link"] = "https://hostler.example.com/approve/…"
	}
	if kind == "alert" && t != hostler.EventAlertRuleChanged {
		n := &hostler.AlertNotice{Kind: hostler.AlertFailures, Note: "https://wiki.example.com/check_port"}
		c := []hostler.AlertChange{{Target: "check_port", Text: hostler.Textf("%d failures in a row", "连续失败 %d 次", 3)}}
		if n.Firing = c; t == hostler.EventAlertResolved {
			n.Firing, n.Resolved = nil, c
		}
		v["subject"], v["text"] = AlertTexts("check-failures", n, lang)
	}
	if t == hostler.EventRunMessage {
		v["object"], v["text"] = "", "game 1.2: succeeded"
	}
	return v
}

// AlertTexts returns the subject and the lines of a notification of alerts.
func AlertTexts(rule string, n *hostler.AlertNotice, lang hostler.Lang) (subject, text string) {
	in := func(en, zh string, args ...any) string { return hostler.Textf(en, zh, args...).In(lang) }
	if n.Test {
		return in("test of the alert rule %s", "告警规则 %s 的测试", rule), n.Note
	}
	listed := func(firing, resolved int) string {
		switch {
		case resolved == 0:
			return in("%d firing", "%d 个告警触发", firing)
		case firing == 0:
			return in("%d resolved", "%d 个告警恢复", resolved)
		}
		return in("%d firing, %d resolved", "%d 个告警触发，%d 个恢复", firing, resolved)
	}
	subject = in("alert %s: %s", "告警 %s：%s", rule, listed(len(n.Firing), len(n.Resolved)))
	if n.More > 0 {
		subject += in(" and %d more", "，另有 %d 个", n.More)
	}
	var lines []string
	for _, part := range []struct {
		state   string
		changes []hostler.AlertChange
	}{{in("FIRING", "触发"), n.Firing}, {in("RESOLVED", "恢复"), n.Resolved}} {
		for _, c := range part.changes {
			line := part.state + " " + c.Target + ": " + c.Text.In(lang)
			if c.Target == "" {
				line = part.state + " " + c.Text.In(lang)
			}
			if !c.Since.IsZero() {
				line += in(" (since %s UTC)", "（始于 %s UTC）", c.Since.UTC().Format(time.DateTime))
			}
			lines = append(lines, line)
		}
	}
	if n.Note != "" {
		lines = append(lines, n.Note)
	}
	return subject, strings.Join(lines, "\n")
}

// stateTexts are what follows the name of an action: "check_port succeeded".
var stateTexts = map[hostler.State]hostler.Text{
	hostler.StateScheduled: {EN: "is scheduled", ZH: "已计划"},
	hostler.StateQueued:    {EN: "is queued", ZH: "排队中"},
	hostler.StateRunning:   {EN: "is running", ZH: "运行中"},
	hostler.StateSucceeded: {EN: "succeeded", ZH: "成功"},
	hostler.StateFailed:    {EN: "failed", ZH: "失败"},
	hostler.StateCancelled: {EN: "was cancelled", ZH: "已取消"},
	hostler.StateExpired:   {EN: "expired", ZH: "已过期"},
	hostler.StateUnknown:   {EN: "has an unknown outcome; please resolve it", ZH: "结果未知，请确认结果"},
}

// StateText returns what follows the name of an action.
func StateText(s hostler.State) hostler.Text {
	if t, ok := stateTexts[s]; ok {
		return t
	}
	return hostler.Text{EN: string(s), ZH: string(s)}
}
