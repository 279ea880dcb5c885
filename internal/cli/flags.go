package cli

import (
	"cmp"
	"encoding"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"hostler.dev/hostler"
)

// The types of flags that pflag does not have.
var _ = []pflag.Value{
	pairsFlag{}, rolesFlag{}, selectorFlag{}, durationFlag{}, timeFlag{}, laterFlag{}, statesFlag{}, idFlag{}, stringFlag[hostler.EventType]{},
}

// pairsFlag takes key=value, and may be repeated.
type pairsFlag struct{ m *map[string]string }

func (f pairsFlag) String() string { return "" }
func (f pairsFlag) Type() string   { return "key=value" }

func (f pairsFlag) Set(s string) error {
	k, v, ok := strings.Cut(s, "=")
	if !ok || k == "" {
		return hostler.Errorf(hostler.CodeInvalid, "write it as key=value", "请写成 key=value")
	}
	if *f.m == nil {
		*f.m = map[string]string{}
	}
	if old, again := (*f.m)[k]; again && old != v {
		return hostler.Errorf(hostler.CodeInvalid, "%s is given twice, as %q and as %q", "%s 重复指定：%q 和 %q", k, old, v)
	}
	(*f.m)[k] = v
	return nil
}

// selectorFlag takes conditions on labels, and may be repeated: all must match, where several
// values of one key are alternatives. The server evaluates them.
type selectorFlag struct{ s *string }

func (f selectorFlag) String() string { return "" }
func (f selectorFlag) Type() string   { return "selector" }

func (f selectorFlag) Set(s string) error {
	if *f.s != "" && s != "" {
		s = *f.s + "," + s
	}
	*f.s = s
	return nil
}

// selectorFlag adds -l, which selects assets by labels.
func (a *app) selectorFlag(cmd *cobra.Command, s *string) {
	cmd.Flags().VarP(selectorFlag{s}, "label", "l", a.t("only assets with these labels, such as app=web,env!=test; may be repeated",
		"只选带这些标签的资产，如 app=web,env!=test；可重复"))
	a.complete(cmd, "label", assetLabels)
}

// rolesFlag takes project=role, and may be repeated.
type rolesFlag struct{ pairsFlag }

func (f rolesFlag) Set(s string) error {
	if !strings.Contains(s, "=") {
		return hostler.Errorf(hostler.CodeInvalid, "write it as PROJECT=ROLE, such as default=%s",
			"请写成 项目=角色，例如 default=%s", s)
	}
	return f.pairsFlag.Set(s)
}

// durationFlag takes a duration such as 90s, 10m or 30d.
type durationFlag struct{ d *hostler.Duration }

func (f durationFlag) String() string {
	if f.d == nil || *f.d == 0 {
		return ""
	}
	return f.d.String()
}
func (f durationFlag) Type() string       { return "duration" }
func (f durationFlag) Set(s string) error { return cmp.Or(checkUnit(s), f.d.UnmarshalText([]byte(s))) }

// checkUnit refuses a number without a unit: people mean minutes as often as seconds.
func checkUnit(s string) error {
	if n, err := strconv.ParseFloat(s, 64); err != nil || n == 0 {
		return nil //nolint:nilerr // not a number
	}
	return hostler.Errorf(hostler.CodeInvalid, "%s has no unit: write %ss, %sm, %sh or %sd",
		"%s 没有单位：请写成 %ss、%sm、%sh 或 %sd", s, s, s, s, s)
}

// timeFlag takes a time: RFC 3339, a date with or without a time of day, or how
// long ago, such as 2h.
type timeFlag struct {
	t   **time.Time
	now func() time.Time
}

// timeLayouts are the forms of a time besides a duration. Those without a zone
// are local times.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02 15:04", time.DateOnly}

func (f timeFlag) String() string { return "" }
func (f timeFlag) Type() string   { return "time" }

func (f timeFlag) Set(s string) error {
	if err := checkUnit(s); err != nil {
		return err
	}
	if t, ok := namedTime(s, f.now()); ok {
		*f.t = &t
		return nil
	}
	if d, err := hostler.ParseDuration(s); err == nil {
		t := f.now().Add(-d)
		*f.t = &t
		return nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			*f.t = &t
			return nil
		}
	}
	return hostler.Errorf(hostler.CodeInvalid,
		"write a time such as 2026-01-31 18:00, 09:00, today or yesterday, or a span such as 2h",
		"时间请写成 2026-01-31 18:00、09:00、today 或 yesterday，或时长如 2h")
}

// namedTime reads a day by its name, at midnight, or a time of today: 09:00.
func namedTime(s string, now time.Time) (time.Time, bool) {
	day := startOfDay(now)
	switch s {
	case "now":
		return now, true
	case "today", "今天":
		return day, true
	case "yesterday", "昨天":
		return day.AddDate(0, 0, -1), true
	case "tomorrow", "明天":
		return day.AddDate(0, 0, 1), true
	}
	t, err := time.ParseInLocation("15:04", s, time.Local)
	y, m, d := day.Date()
	return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, time.Local), err == nil
}

// statesFlag takes job states, separated by commas or repeated.
type statesFlag struct{ s *[]hostler.State }

func (f statesFlag) String() string { return "" }
func (f statesFlag) Type() string   { return "state" }

func (f statesFlag) Set(v string) error {
	for part := range strings.SplitSeq(v, ",") {
		s := hostler.State(strings.TrimSpace(part))
		if !s.Valid() {
			states := strings.Join(names(hostler.States(), func(s hostler.State) string { return string(s) }), ", ")
			return hostler.Errorf(hostler.CodeInvalid, "there is no state %q; use %s",
				"没有状态 %q；可用的有 %s", part, states)
		}
		*f.s = append(*f.s, s)
	}
	return nil
}

// idFlag takes the id of an object, such as a [hostler.JobID].
type idFlag struct{ id encoding.TextUnmarshaler }

func (f idFlag) String() string     { return "" }
func (f idFlag) Type() string       { return "id" }
func (f idFlag) Set(s string) error { return f.id.UnmarshalText([]byte(s)) }

// stringFlag takes a string of a named type.
type stringFlag[T ~string] struct{ v *T }

func (f stringFlag[T]) String() string     { return "" }
func (f stringFlag[T]) Type() string       { return "string" }
func (f stringFlag[T]) Set(s string) error { *f.v = T(s); return nil }
