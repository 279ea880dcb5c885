package cli

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"hostler.dev/hostler"
)

// fill reads the flags into the calendar.
func (f *calendarFlags) fill() error {
	f.in.Closed = hostler.CalendarEffect(f.closed)
	switch {
	case f.project && len(f.labels) > 0:
		return hostler.Invalid("applies", "give either --applies-to-project or --applies-to",
			"--applies-to-project 与 --applies-to 只能指定其一")
	case f.project || len(f.labels) > 0:
		f.in.Applies = &hostler.CalendarScope{Project: f.project, Labels: f.labels}
	}
	for _, text := range f.weekly {
		days, hours, _ := strings.Cut(text, "@")
		w := hostler.WeeklyPeriod{Days: strings.Split(days, ",")}
		w.From, w.To, _ = strings.Cut(hours, "-")
		f.in.Weekly = append(f.in.Weekly, w)
	}
	for _, text := range f.closeDays {
		f.addDays(text, false)
	}
	for _, text := range f.openDays {
		f.addDays(text, true)
	}
	for _, text := range f.periods {
		from, to, _ := strings.Cut(text, "/")
		begin, errFrom := time.Parse(time.RFC3339, from)
		end, errTo := time.Parse(time.RFC3339, to)
		if errFrom != nil || errTo != nil {
			return hostler.Invalid("periods", "write a period as 2026-12-20T00:00:00Z/2027-01-04T00:00:00Z",
				"时段请写成 2026-12-20T00:00:00Z/2027-01-04T00:00:00Z")
		}
		f.in.Periods = append(f.in.Periods, hostler.ClosedPeriod{From: begin, To: end})
	}
	return nil
}

func (f *calendarFlags) addDays(text string, open bool) {
	from, to, _ := strings.Cut(text, "/")
	f.in.Days = append(f.in.Days, hostler.CalendarDays{From: from, To: to, Open: open})
}

// calendarOverride returns the override, if its reason was given.
func calendarOverride(reason string) *hostler.CalendarOverride {
	if reason == "" {
		return nil
	}
	return &hostler.CalendarOverride{Reason: reason}
}

// calendarOverrideFlag adds the flag of a [hostler.CalendarOverride].
func (a *app) calendarOverrideFlag(fs *pflag.FlagSet, reason *string) {
	fs.StringVar(reason, "override-calendar", "", a.t("admins only: run it although a calendar is closed, for this reason",
		"仅限管理员：以此理由在日历关闭期间执行"))
}
