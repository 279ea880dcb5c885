package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
)

// statsCmd is 'hostler stats'.
func (a *app) statsCmd() *cobra.Command {
	var q hostler.StatsQuery
	var file bool
	cmd := a.cmd("stats [flags]", doc{
		short: txt("show how jobs went: counts, success rates, times, trends", "查看作业统计：数量、成功率、时长、趋势"),
		long: txt(`Show the figures of the jobs that ended in a range of time, by default the last 7
days: how many, how many succeeded, how long they ran and waited in the queue (half of
them at most p50, 95 % at most p95), and the change since the same range a week before.
Jobs that were deleted since are included. Ranges are in whole hours or days (UTC).`,
			`查看一段时间（默认最近 7 天）内已结束作业的统计：数量、成功率、执行与排队时长
（p50 为一半作业不超过的时长，p95 为 95%），以及与一周前同一时段相比的变化。
包括之后已删除的作业。时段按整小时或整天（UTC）计算。`),
		example: `hostler stats
hostler stats --by schedule --from 30d
hostler stats --by action --name check_port --step day
hostler stats --by asset --csv > assets.csv`,
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if file {
			return c.ExportStats(ctx, q, a.out)
		}
		all, err := allStats(ctx, c, q)
		if err != nil {
			return err
		}
		if a.output != "table" {
			return a.structured(all)
		}
		a.note("%s to %s (UTC)", "%s 至 %s（UTC）", all.From.Format("2006-01-02 15:04"), all.To.Format("2006-01-02 15:04"))
		if q.Step != "" {
			return list(a, points(all), statsPointColumns())
		}
		return list(a, all.Items, statsColumns())
	})
	fs := cmd.Flags()
	fs.Var(stringFlag[hostler.StatsBy]{&q.By}, "by", a.t("count by action (default), queue, user, asset, schedule or task",
		"统计方式：action（默认）、queue、user、asset、schedule 或 task"))
	fs.StringVar(&q.Name, "name", "", a.t("only this one", "仅统计此名称"))
	fs.Var(timeFlag{&q.From, a.now}, "from", a.t("at or after this time, such as 30d or 2026-01-31; default 7d",
		"起始时间，如 30d 或 2026-01-31；默认 7d"))
	fs.Var(timeFlag{&q.To, a.now}, "to", a.t("before this time; default now", "截止时间；默认现在"))
	fs.Var(stringFlag[hostler.StatsStep]{&q.Step}, "step", a.t("a line for each hour or day", "按 hour 或 day 分别列出"))
	fs.BoolVar(&file, "csv", false, a.t("write a CSV file that a spreadsheet opens safely", "输出可用电子表格安全打开的 CSV"))
	a.complete(cmd, "by", fixed("action", "queue", "user", "asset", "schedule", "task"))
	a.complete(cmd, "step", fixed("hour", "day"))
	return cmd
}

// allStats reads all pages of statistics.
func allStats(ctx context.Context, c *client.Client, q hostler.StatsQuery) (hostler.Stats, error) {
	all, err := c.Stats(ctx, q)
	for next := all.Next; err == nil && next != ""; {
		var page hostler.Stats
		q.From, q.To, q.Cursor = &all.From, &all.To, next
		page, err = c.Stats(ctx, q)
		all.Items = append(all.Items, page.Items...)
		next = page.Next
	}
	all.Next = ""
	return all, err
}

// namedPoint is a step of the series of a name.
type namedPoint struct {
	name string
	hostler.StatsPoint
}

func points(s hostler.Stats) []namedPoint {
	var out []namedPoint
	for _, item := range s.Items {
		for _, p := range item.Series {
			out = append(out, namedPoint{item.Name, p})
		}
	}
	return out
}

// figureColumns are the columns of figures, wherever an item has them.
func figureColumns[T any](of func(T) hostler.Figures) []column[T] {
	span := func(v float64) string {
		return (time.Duration(v*1e6) * time.Microsecond).Round(time.Millisecond).String()
	}
	return []column[T]{
		col("count", "数量", func(x T) string { return fmt.Sprint(of(x).Count) }),
		col("success", "成功率", func(x T) string { return percent(of(x).SuccessRate, "%.1f%%") }),
		col("failed", "失败", func(x T) string { return number(of(x).Failure) }),
		col("run p50", "执行 p50", func(x T) string { return span(of(x).Run.P50) }),
		col("run p95", "执行 p95", func(x T) string { return span(of(x).Run.P95) }),
		col("wait p50", "排队 p50", func(x T) string { return span(of(x).Wait.P50) }),
		col("wait p95", "排队 p95", func(x T) string { return span(of(x).Wait.P95) }),
	}
}

func percent(part *float64, format string) string {
	if part == nil {
		return "-"
	}
	return fmt.Sprintf(format, *part*100)
}

func statsColumns() []column[hostler.StatsItem] {
	name := col("name", "名称", func(s hostler.StatsItem) string { return s.Name })
	cols := append([]column[hostler.StatsItem]{name}, figureColumns(func(s hostler.StatsItem) hostler.Figures { return s.Figures })...)
	return append(cols,
		col("count ±", "数量 ±", func(s hostler.StatsItem) string { return percent(s.Trend.Count, "%+.0f%%") }),
		col("run p95 ±", "执行 p95 ±", func(s hostler.StatsItem) string { return percent(s.Trend.RunP95, "%+.0f%%") }),
		col("last", "最近", func(s hostler.StatsItem) string { return optionalTime(s.Last) }),
	)
}

func statsPointColumns() []column[namedPoint] {
	return append([]column[namedPoint]{
		col("name", "名称", func(p namedPoint) string { return p.name }),
		col("at", "时间", func(p namedPoint) string { return localTime(p.At) }),
	}, figureColumns(func(p namedPoint) hostler.Figures { return p.Figures })...)
}
