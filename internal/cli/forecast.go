package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// scheduleForecast is 'hostler schedule forecast'.
func (a *app) scheduleForecast() *cobra.Command {
	var q hostler.ForecastQuery
	cmd := a.cmd("forecast [SCHEDULE] [flags]", doc{
		short: txt("forecast fires, collisions and overload", "预测触发、冲突和过载"),
		long: txt(`Simulate the fires of the coming days, with the durations that earlier runs had, calendars
and changes of the clock: which fires run, which runs still run when the next fire comes, which
schedules want the same lane at once, and when a queue has more jobs than can run.`,
			`模拟未来数天的触发（依据以往执行的时长、日历和夏令时）：哪些会执行，哪些在下次触发时仍在执行，
哪些计划同时需要同一通道，以及队列何时过载。`),
		example: "hostler schedule forecast --days 30\nhostler schedule forecast night -o json",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) > 0 {
			q.Schedule = args[0]
		}
		f, err := c.Forecast(ctx, q)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(f)
		}
		return a.printForecast(f)
	})
	cmd.Flags().IntVar(&q.Days, "days", 7, a.t("how many days, up to 60", "天数，最多 60"))
	a.complete(cmd, "", scheduleNames())
	return cmd
}

func (a *app) printForecast(f hostler.Forecast) error {
	seconds := func(s float64) string { return time.Duration(s * float64(time.Second)).Round(time.Second).String() }
	if err := list(a, f.Schedules, []column[hostler.ForecastSchedule]{
		col("schedule", "计划", func(s hostler.ForecastSchedule) string { return s.Name }),
		col("fires", "触发", func(s hostler.ForecastSchedule) string { return fmt.Sprint(s.Fires) }),
		col("run", "执行", func(s hostler.ForecastSchedule) string { return fmt.Sprint(s.Started) }),
		col("not", "不执行", func(s hostler.ForecastSchedule) string { return number(s.Skipped) }),
		col("too long", "超时", func(s hostler.ForecastSchedule) string { return number(s.Over) }),
		col("duration", "时长", func(s hostler.ForecastSchedule) string {
			if !s.Learned {
				return "? " + seconds(s.Run)
			}
			return seconds(s.Run)
		}),
		col("problem", "问题", func(s hostler.ForecastSchedule) string {
			if s.Problem == nil {
				return "-"
			}
			return s.Problem.In(a.lang)
		}),
	}); err != nil {
		return err
	}
	for _, c := range f.Collisions {
		a.note("%s: on the lane %s (%d lanes), %d times from %s on", "%s：争用通道 %s（共 %d 个通道），%d 次，自 %s 起",
			strings.Join(c.Schedules, ", "), c.Lane, c.Lanes, c.Count, localTime(c.First))
	}
	for _, o := range f.Overloads {
		a.note("the queue %s: %d jobs for %d places, from %s to %s", "队列 %s：%d 个作业，%d 个位置，%s 至 %s",
			o.Queue, o.Jobs, o.Capacity, localTime(o.At), localTime(o.Until))
	}
	if f.More {
		a.note("there is more than this shows", "结果不完整")
	}
	return nil
}

// scheduleCalendar is 'hostler schedule calendar'.
func (a *app) scheduleCalendar() *cobra.Command {
	q := hostler.ForecastQuery{Limit: 10_000}
	cmd := a.cmd("calendar [SCHEDULE] [flags]", doc{
		short: txt("draw the coming fires", "绘制后续触发"),
		long: txt(`Draw the runs of the coming days: a line for each day, and for each hour the number of runs
that begin in it. ! marks an hour with a run that still runs when its next fire comes.`,
			`绘制未来数天的执行：每天一行，每小时显示开始的执行数；! 表示其中有执行会持续到下次触发。`),
		example: "hostler schedule calendar --days 30\nhostler schedule calendar night",
	}, func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) > 0 {
			q.Schedule = args[0]
		}
		f, err := c.Forecast(ctx, q)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(f)
		}
		_, err = fmt.Fprint(a.out, drawFires(f, time.Local))
		if err == nil && f.More {
			a.note("there is more than this shows", "结果不完整")
		}
		return err
	})
	cmd.Flags().IntVar(&q.Days, "days", 14, a.t("how many days, up to 60", "天数，最多 60"))
	a.complete(cmd, "", scheduleNames())
	return cmd
}

// drawFires draws the runs of a forecast, in 65 columns.
func drawFires(f hostler.Forecast, zone *time.Location) string {
	type hour struct {
		day string
		at  int
	}
	count, over := map[hour]int{}, map[hour]bool{}
	for _, x := range f.Fires {
		if x.Start == nil {
			continue
		}
		at := x.Start.In(zone)
		h := hour{at.Format(time.DateOnly), at.Hour()}
		count[h]++
		over[h] = over[h] || x.Over
	}
	var b strings.Builder
	b.WriteString(strings.Repeat(" ", 16))
	for h := range 24 {
		fmt.Fprintf(&b, "%-2d", h)
	}
	b.WriteByte('\n')
	from := f.From.In(zone)
	y, m, d := from.Date()
	for i := range 62 {
		day := time.Date(y, m, d+i, 12, 0, 0, 0, zone)
		if i > 0 && !time.Date(y, m, d+i, 0, 0, 0, 0, zone).Before(f.To) {
			break
		}
		b.WriteString(day.Format("Mon 2006-01-02  "))
		for h := range 24 {
			at := hour{day.Format(time.DateOnly), h}
			switch n := count[at]; {
			case n == 0:
				b.WriteString("·")
			case n > 9:
				b.WriteString("+")
			default:
				fmt.Fprint(&b, n)
			}
			if over[at] {
				b.WriteByte('!')
			} else {
				b.WriteByte(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
