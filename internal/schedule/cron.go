package schedule

import (
	"fmt"
	"strings"
	"time"

	cron "github.com/netresearch/go-cron"

	"hostler.dev/hostler"
)

// searchYears is how far ahead a cron expression is searched: the 29th of February on a
// certain weekday may be forty years away.
const searchYears = 45

// parser reads expressions of 5 fields, or of 6 with seconds first. Only the parser of
// the library is used; see [clock] for how instants are computed.
var parser = cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow |
	cron.Descriptor | cron.Extended | cron.DowOrDom).WithMaxSearchYears(searchYears)

// clock has the instants at which the clock of a zone shows the times of an expression.
type clock struct {
	wall *cron.SpecSchedule // in UTC, which stands for a zone without any change
	zone *time.Location
}

// maxOffset is more than the clocks of a zone are ever away from UTC, and more than they
// are ever changed by.
const maxOffset = 26 * time.Hour

// after finds the first wall time of the expression that no clock up to t has shown.
func (c clock) after(t time.Time) time.Time {
	wall := c.wall.Next(c.shown(t))
	if wall.IsZero() {
		return time.Time{}
	}
	return c.instant(wall)
}

// shown is the latest time that the clock has shown up to t, as a time in UTC.
func (c clock) shown(t time.Time) time.Time {
	t = t.Truncate(time.Second)
	latest := wallOf(t.In(c.zone))
	for at := t.In(c.zone); ; {
		begin, _ := at.ZoneBounds()
		if begin.IsZero() || t.Sub(begin) > maxOffset {
			return latest
		}
		at = begin.Add(-time.Second).In(c.zone)
		if before := wallOf(at); before.After(latest) {
			latest = before
		}
	}
}

// instant is the first one at which the clock shows a wall time or a later one.
func (c clock) instant(wall time.Time) time.Time {
	for at := wall.Add(-maxOffset).In(c.zone); ; {
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		if !begin.IsZero() && wallOf(begin.In(c.zone)).After(wall) {
			return begin.UTC() // the clock leapt over it
		}
		u := wall.Add(-time.Duration(offset) * time.Second)
		if end.IsZero() || u.Before(end) {
			return u
		}
		at = end.In(c.zone)
	}
}

// wallOf is what the clock of a time's zone shows, as a time in UTC.
func wallOf(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// cronFields are the fields of an expression, with what they may contain.
var cronFields = []struct {
	name   hostler.Text
	values string
}{
	{hostler.Text{EN: "second", ZH: "秒"}, "0-59"},
	{hostler.Text{EN: "minute", ZH: "分"}, "0-59"},
	{hostler.Text{EN: "hour", ZH: "时"}, "0-23"},
	{hostler.Text{EN: "day of the month", ZH: "日"}, "1-31, L, 15W"},
	{hostler.Text{EN: "month", ZH: "月"}, "1-12, JAN-DEC"},
	{hostler.Text{EN: "day of the week", ZH: "星期"}, "0-7 (0 and 7 = Sunday), SUN-SAT, FRI#2, FRI#L"},
}

// parseCron reads an expression; the text is what is wrong with it.
func parseCron(expr string) (*cron.SpecSchedule, *hostler.Text) {
	wrong := func(en, zh string, args ...any) (*cron.SpecSchedule, *hostler.Text) {
		text := hostler.Textf(en, zh, args...)
		return nil, &text
	}
	switch {
	case strings.Contains(expr, "="):
		return wrong("must not contain a time zone: use the field zone", "不能包含时区：请使用 zone 字段")
	case strings.HasPrefix(expr, "@every"):
		return wrong("must not be @every: use interval", "不支持 @every：请使用 interval")
	case strings.HasPrefix(expr, "@"):
		if spec, ok := parseSpec(expr); ok {
			return spec, nil
		}
		return wrong("must be one of @yearly, @monthly, @weekly, @daily, @hourly, or 5 or 6 fields",
			"须为 @yearly、@monthly、@weekly、@daily、@hourly 之一，或 5 至 6 个字段")
	}
	fields := strings.Fields(expr)
	if len(fields) != 5 && len(fields) != 6 {
		return wrong("has %d fields: give minute, hour, day of the month, month and day of the week, "+
			"such as 30 2 * * *; 6 fields begin with the second",
			"有 %d 个字段：请依次给出分、时、日、月、星期，如 30 2 * * *；6 个字段时以秒开头", len(fields))
	}
	if spec, ok := parseSpec(strings.Join(fields, " ")); ok {
		return spec, nil
	}
	for i, value := range fields {
		alone := strings.Fields("* * * * * *")[:len(fields)]
		alone[i] = value
		if _, ok := parseSpec(strings.Join(alone, " ")); !ok {
			f := cronFields[len(cronFields)-len(fields)+i]
			return nil, &hostler.Text{
				EN: fmt.Sprintf("field %d, the %s, is not valid: use %s, lists (1,5), ranges (1-5), steps (*/5) or *",
					i+1, f.name.EN, f.values),
				ZH: fmt.Sprintf("第 %d 个字段（%s）无效：请使用 %s、列表（1,5）、范围（1-5）、步长（*/5）或 *",
					i+1, f.name.ZH, f.values),
			}
		}
	}
	return wrong("is not a cron expression", "不是合法的 cron 表达式")
}

// parseSpec reads an expression with the library, which must give the times of a clock.
func parseSpec(expr string) (*cron.SpecSchedule, bool) {
	parsed, err := parser.Parse(expr)
	spec, ok := parsed.(*cron.SpecSchedule)
	if err != nil || !ok {
		return nil, false
	}
	own := *spec
	own.Location = time.UTC
	return &own, true
}
