package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"hostler.dev/hostler"
	"hostler.dev/hostler/client"
	"hostler.dev/hostler/internal/cli/term"
)

// statsCmd is 'hostler stats'.
func (a *app) statsCmd() *cobra.Command {
	var q hostler.StatsQuery
	cmd := a.cmd("stats [flags]", doc{
		short: txt("show how jobs went: counts, success rates, times, trends", "查看作业统计：数量、成功率、时长、趋势"),
		long: txt(`Show the figures of the jobs that ended in a range of time, by default the last 7
days: how many, how many succeeded, how long they ran and waited in the queue (half of
them at most p50, 95 % at most p95), and the change since the same range a week before.
Jobs that were deleted since are included. Ranges are in whole hours or days (UTC).
The chart has a bar for each day, or each hour of at most 3 days; with --step there is a
line for each, whose bar has failures in a lighter shade. Columns that do not fit into
the terminal are left out; -o json and -o csv have all figures.`,
			`查看一段时间（默认最近 7 天）内已结束作业的统计：数量、成功率、执行与排队时长
（p50 为一半作业不超过的时长，p95 为 95%），以及与一周前同一时段相比的变化。
包括之后已删除的作业。时段按整小时或整天（UTC）计算。图表中每天一格，不超过 3 天时每小时一格；
使用 --step 时每个时段一行，失败部分以浅色显示。终端放不下的列会被省略；
-o json 和 -o csv 包含全部数据。`),
		example: `hostler stats
hostler stats --by schedule --from 30d
hostler stats --by action --name check_port --step day
hostler stats --by asset -o csv > assets.csv`,
	}, func(ctx context.Context, c *client.Client, _ []string) error {
		if a.output == "csv" {
			return c.ExportStats(ctx, q, a.out)
		}
		if a.output != "table" {
			all, err := allStats(ctx, c, q)
			if err != nil {
				return err
			}
			return a.structured(all)
		}
		charted := q
		if q.Step == "" {
			charted.Step = chartStep(q, a.now())
		}
		all, err := allStats(ctx, c, charted)
		if err != nil {
			return err
		}
		a.note("%s to %s (UTC)", "%s 至 %s（UTC）", all.From.Format("2006-01-02 15:04"), all.To.Format("2006-01-02 15:04"))
		if q.Step != "" {
			return fitted(a, points(all), statsPointColumns(maxCount(all)), optionalPoints)
		}
		return fitted(a, all.Items, statsColumns(all), optionalStats)
	})
	cmd.Annotations = map[string]string{writesCSV: "yes"}
	fs := cmd.Flags()
	fs.Var(stringFlag[hostler.StatsBy]{&q.By}, "by", a.t("count by action (default), queue, user, asset, schedule or task",
		"统计方式：action（默认）、queue、user、asset、schedule 或 task"))
	fs.StringVar(&q.Name, "name", "", a.t("only this one", "仅统计此名称"))
	fs.Var(timeFlag{&q.From, a.now}, "from", a.t("at or after this time, such as 30d or 2026-01-31; default 7d",
		"起始时间，如 30d 或 2026-01-31；默认 7d"))
	fs.Var(timeFlag{&q.To, a.now}, "to", a.t("before this time; default now", "截止时间；默认现在"))
	fs.Var(stringFlag[hostler.StatsStep]{&q.Step}, "step", a.t("a line for each hour or day", "按 hour 或 day 分别列出"))
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

func statsColumns(all hostler.Stats) []column[hostler.StatsItem] {
	name := col("name", "名称", func(s hostler.StatsItem) string { return s.Name })
	cols := append([]column[hostler.StatsItem]{name}, figureColumns(func(s hostler.StatsItem) hostler.Figures { return s.Figures })...)
	return append(cols,
		col("count ±", "数量 ±", func(s hostler.StatsItem) string { return percent(s.Trend.Count, "%+.0f%%") }),
		col("run p95 ±", "执行 p95 ±", func(s hostler.StatsItem) string { return percent(s.Trend.RunP95, "%+.0f%%") }),
		col("chart", "图表", func(s hostler.StatsItem) string { return sparkline(counts(all, s.Series)) }),
		col("last", "最近", func(s hostler.StatsItem) string { return optionalTime(s.Last) }),
	)
}

func statsPointColumns(most int64) []column[namedPoint] {
	cols := append([]column[namedPoint]{
		col("name", "名称", func(p namedPoint) string { return p.name }),
		col("at", "时间", func(p namedPoint) string { return localTime(p.At) }),
	}, figureColumns(func(p namedPoint) hostler.Figures { return p.Figures })...)
	return append(cols, col("chart", "图表", func(p namedPoint) string { return bar(p.Figures, most) }))
}

// chartStep is the step of the series that a chart of a query shows.
func chartStep(q hostler.StatsQuery, now time.Time) hostler.StatsStep {
	to := now
	if q.To != nil {
		to = *q.To
	}
	const fine, kept = 3 * 24 * time.Hour, 34 * 24 * time.Hour // of hours, as the server has them
	if q.By != hostler.StatsByAsset && q.From != nil && to.Sub(*q.From) <= fine && now.Sub(*q.From) < kept {
		return hostler.StatsHour
	}
	return hostler.StatsDay
}

const (
	// sparkCells is how many cells a sparkline has at most, and barCells how many a bar.
	sparkCells = 14
	barCells   = 16
)

// counts are the numbers of jobs of all steps of a range, of which the series has those with
// a job. Several steps share a number if there are more than a sparkline has cells.
func counts(s hostler.Stats, series []hostler.StatsPoint) []int64 {
	span := 24 * time.Hour
	if s.Step == hostler.StatsHour {
		span = time.Hour
	}
	steps := int(s.To.Sub(s.From) / span)
	shared := max(1, (steps+sparkCells-1)/sparkCells)
	out := make([]int64, max(0, (steps+shared-1)/shared))
	for _, p := range series {
		if i := int(p.At.Sub(s.From)/span) / shared; i >= 0 && i < len(out) {
			out[i] += p.Count
		}
	}
	return out
}

// sparkline draws numbers as bars of a cell each, relative to the largest.
func sparkline(values []int64) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	most := int64(1)
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteRune('·')
			continue
		}
		b.WriteRune(marks[(v*int64(len(marks))-1)/most])
	}
	return b.String()
}

func maxCount(s hostler.Stats) (most int64) {
	for _, item := range s.Items {
		for _, p := range item.Series {
			most = max(most, p.Count)
		}
	}
	return most
}

// bar draws the jobs of a step, relative to the most of any step: first those that did not
// fail.
func bar(f hostler.Figures, most int64) string {
	most = max(1, most)
	cells := func(n int64) int { return int((n*barCells + most - 1) / most) }
	all, failed := cells(f.Count), min(cells(f.Failure), barCells)
	return strings.Repeat("█", max(0, all-failed)) + strings.Repeat("░", failed)
}

// The columns that are left out where they do not fit, first to last, by their English heads.
var (
	optionalStats  = []string{"wait p50", "failed", "run p95 ±", "last", "wait p95", "run p50"}
	optionalPoints = []string{"wait p50", "wait p95", "failed", "run p50"}
)

// fitted is [list] without the optional columns that do not fit into the terminal.
func fitted[T any](a *app, items []T, cols []column[T], optional []string) error {
	if width := term.Columns(a.out); width > 0 {
		cols = fitColumns(a, items, cols, width, optional)
	}
	return list(a, items, cols)
}

func fitColumns[T any](a *app, items []T, cols []column[T], width int, optional []string) []column[T] {
	for _, head := range optional {
		if tableWidth(a, items, cols) <= width {
			break
		}
		cols = slices.DeleteFunc(slices.Clone(cols), func(c column[T]) bool { return c.head.EN == head })
	}
	return cols
}

func tableWidth[T any](a *app, items []T, cols []column[T]) (width int) {
	for _, c := range cols {
		widest := term.Width(c.head.In(a.lang))
		for _, it := range items {
			widest = max(widest, term.Width(term.Escape(c.cell(it))))
		}
		width += widest + 2
	}
	return width - 2
}
