// Package alert decides what alert rules find, and says it in words. It is pure: no
// database, no clock.
//
// # Model
//
//	rule      kind, threshold, and whose figures in which window ([Complete], [Check])
//	value     what was measured of one target, in the unit of the threshold ([Value])
//	firing    whether the value is beyond the threshold ([Fires])
//
// A rule looks at what is so now, not at what happened: a server that crashes between two
// looks misses nothing that lasts, and the next server finds the same.
package alert

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/stats"
)

const (
	maxWindow = 30 * 24 * time.Hour
	// fineWindow is the longest window that is made of whole hours.
	fineWindow = 3 * 24 * time.Hour
	// maxEvery bounds the times between two notifications.
	maxEvery     = 30 * 24 * time.Hour
	defaultEvery = hostler.Duration(5 * time.Minute)
	// baseline is how long the usual times of slow rules are counted.
	baseline = 7 * 24 * time.Hour
)

// thresholds are the defaults, by kind.
var thresholds = map[hostler.AlertKind]float64{
	hostler.AlertFailures: 3, hostler.AlertSuccessRate: 0.9, hostler.AlertSlow: 3, hostler.AlertMissed: 1,
	hostler.AlertQueueAge: 600, hostler.AlertWorkerLost: 0, hostler.AlertUnknown: 1,
}

// mins are the defaults of Min.
var mins = map[hostler.AlertKind]int{hostler.AlertSuccessRate: 5, hostler.AlertSlow: 20}

// OfFigures reports whether rules of a kind look at statistics.
func OfFigures(k hostler.AlertKind) bool {
	return slices.Contains([]hostler.AlertKind{
		hostler.AlertFailures, hostler.AlertSuccessRate, hostler.AlertSlow, hostler.AlertMissed,
	}, k)
}

// Check reports what is wrong with a rule.
func Check(fields *check.Fields, in hostler.AlertRuleInput) {
	check.OneOf(fields, "kind", in.Kind, hostler.AlertKinds()...)
	check.OneOf(fields, "by", in.By, "", hostler.StatsByAction, hostler.StatsByQueue, hostler.StatsByUser,
		hostler.StatsByAsset, hostler.StatsBySchedule, hostler.StatsByTask)
	figures := OfFigures(in.Kind)
	fields.Require(in.By == "" || figures && in.Kind != hostler.AlertMissed, "by", "is for failures, success_rate and slow only",
		"仅用于 failures、success_rate 和 slow")
	fields.Require(in.Window == 0 || figures, "window", "is for failures, success_rate, slow and missed only",
		"仅用于 failures、success_rate、slow 和 missed")
	fields.Require(in.Window.D() <= maxWindow, "window", "must be at most 30d", "不能超过 30d")
	fields.Require(in.Min == 0 || mins[in.Kind] > 0, "min", "is for success_rate and slow only", "仅用于 success_rate 和 slow")
	fields.Require(in.Min >= 0 && in.Min <= 1_000_000, "min", "must be 0 to 1000000", "须为 0 到 1000000")
	fields.Require(in.Target == "" || in.Kind != hostler.AlertUnknown, "target", "is not for unknown", "不能用于 unknown")
	fields.Line("target", in.Target, 300)
	fields.Text("note", in.Note, 1000)
	fields.Count("channels", len(in.Channels), 20)
	for i, name := range in.Channels {
		fields.Line(check.Item("channels", i), name, 128)
	}
	fields.Require(in.Repeat.D() <= maxEvery && (in.Repeat == 0 || in.Repeat.D() >= time.Minute), "repeat",
		"must be 0 or 1m to 30d", "须为 0 或 1m 到 30d")
	fields.Require(in.Every == nil || in.Every.D() >= 0 && in.Every.D() <= maxEvery, "every", "must be 0 to 30d", "须为 0 到 30d")
	if in.Threshold == nil {
		return
	}
	switch t := *in.Threshold; in.Kind {
	case hostler.AlertSuccessRate:
		fields.Require(t > 0 && t <= 1, "threshold", "must be above 0 and at most 1, such as 0.9", "须大于 0 且不超过 1，如 0.9")
	case hostler.AlertSlow:
		fields.Require(t >= 1 && t <= 1000, "threshold", "must be 1 to 1000, times the usual p95", "须为 1 到 1000，即常规 p95 的倍数")
	case hostler.AlertQueueAge, hostler.AlertWorkerLost:
		fields.Require(t >= 0 && t <= maxWindow.Seconds(), "threshold", "must be at most 30 days, in seconds", "不能超过 30 天（秒）")
	default:
		fields.Require(t >= 1 && t <= 1e6, "threshold", "must be 1 to 1000000", "须为 1 到 1000000")
	}
}

// Complete sets the defaults of a rule.
func Complete(in hostler.AlertRuleInput) hostler.AlertRuleInput {
	if in.Threshold == nil {
		t := thresholds[in.Kind]
		in.Threshold = &t
	}
	if OfFigures(in.Kind) {
		if in.Window == 0 {
			in.Window = hostler.Duration(time.Hour)
			if in.Kind == hostler.AlertFailures {
				in.Window = hostler.Duration(24 * time.Hour)
			}
		}
		in.By = cmp.Or(in.By, hostler.StatsByAction)
		if in.Kind == hostler.AlertMissed {
			in.By = hostler.StatsBySchedule
		}
	}
	in.Min = cmp.Or(in.Min, mins[in.Kind])
	if in.Every == nil {
		every := defaultEvery
		in.Every = &every
	}
	if in.Enabled == nil {
		enabled := true
		in.Enabled = &enabled
	}
	return in
}

// Window is the figures that a rule looks at.
type Window struct {
	Span     time.Duration // of the rows
	From, To time.Time
	// Before is the begin of the days whose times are the usual ones, up to Today; zero
	// without such.
	Before, Today time.Time
}

// WindowOf returns the window of a rule at a time: whole hours, or days.
func WindowOf(in hostler.AlertRuleInput, now time.Time) Window {
	w := Window{Span: 24 * time.Hour}
	if in.Window.D() <= fineWindow && in.By != hostler.StatsByAsset { // which are counted by day
		w.Span = time.Hour
	}
	now = now.UTC()
	w.From, w.To = now.Add(-in.Window.D()).Truncate(w.Span), now.Truncate(w.Span).Add(w.Span)
	if in.Kind == hostler.AlertSlow {
		w.Today = now.Truncate(24 * time.Hour)
		w.Before = w.Today.Add(-baseline)
	}
	return w
}

// Rows is how many rows of statistics a name has in the window at most.
func (w Window) Rows() int {
	n := int(w.To.Sub(w.From) / w.Span)
	if !w.Before.IsZero() {
		n += int(baseline / (24 * time.Hour))
	}
	return n
}

// Value measures the figures of one name; longest is how long its longest job runs by now.
// known is false when there is too little to tell.
func Value(in hostler.AlertRuleInput, window, usual *stats.Figures, longest time.Duration) (value float64, known bool) {
	switch in.Kind {
	case hostler.AlertFailures:
		return float64(window.Streak), true
	case hostler.AlertSuccessRate:
		rate, some := window.SuccessRate()
		return rate, some && window.Succeeded+window.Failed >= int64(in.Min)
	case hostler.AlertMissed:
		return float64(window.Missed), true
	case hostler.AlertSlow:
		p95 := usual.RunTimes.Quantile(0.95)
		if usual.Started < int64(in.Min) || p95 <= 0 {
			return 0, false
		}
		return float64(max(window.RunTimes.Quantile(1), longest)) / float64(p95), true
	default:
		return 0, false
	}
}

// Fires reports whether a value is beyond the threshold of a rule.
func Fires(in hostler.AlertRuleInput, value float64) bool {
	switch t := *in.Threshold; in.Kind {
	case hostler.AlertSuccessRate:
		return value < t
	case hostler.AlertSlow:
		return value > t
	default:
		return value >= t
	}
}

// Text says what was measured.
func Text(in hostler.AlertRuleInput, value float64) hostler.Text {
	n := strconv.FormatFloat(value, 'f', -1, 64)
	span := time.Duration(value * float64(time.Second)).Round(time.Second).String()
	limit := time.Duration(*in.Threshold * float64(time.Second)).Round(time.Second).String()
	window := short(in.Window.D())
	switch in.Kind {
	case hostler.AlertFailures:
		return hostler.Textf("%s failures in a row", "连续失败 %s 次", n)
	case hostler.AlertSuccessRate:
		return hostler.Textf("%.1f%% succeeded in %s (at least %.1f%%)", "%[2]s 内成功率 %.1[1]f%%（要求不低于 %.1[3]f%%）",
			value*100, window, *in.Threshold*100)
	case hostler.AlertSlow:
		return hostler.Textf("ran %.1f times as long as the usual p95", "运行时长为常规 p95 的 %.1f 倍", value)
	case hostler.AlertMissed:
		return hostler.Textf("%s fires did not run in %s", "%[2]s 内有 %[1]s 次触发未执行", n, window)
	case hostler.AlertQueueAge:
		return hostler.Textf("the oldest job waits for %s (at most %s)", "最早的作业已等待 %s（上限 %s）", span, limit)
	case hostler.AlertWorkerLost:
		return hostler.Textf("lost for %s", "已失联 %s", span)
	case hostler.AlertUnknown:
		return hostler.Textf("%s jobs with an unknown outcome wait to be resolved", "%s 个结果未知的作业等待确认", n)
	}
	return hostler.Text{EN: n, ZH: n}
}

// short is a span without zero parts: 1h, not 1h0m0s.
func short(d time.Duration) string {
	switch {
	case d > 0 && d%(24*time.Hour) == 0:
		return strconv.Itoa(int(d/(24*time.Hour))) + "d"
	case d > 0 && d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d > 0 && d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	}
	return d.String()
}
