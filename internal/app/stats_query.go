package app

import (
	"cmp"
	"context"
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/assetfile"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

const (
	week = 7 * 24 * time.Hour
	// fineRange is the longest range whose figures are those of hours, unless days are asked for.
	fineRange = 3 * 24 * time.Hour
	// maxStatsRows bounds the rows that one page reads: the longer the range, the fewer names
	// a page has.
	maxStatsRows = 10_000
)

// Stats returns the figures of the jobs that ended in a range of time.
func (a *App) Stats(ctx context.Context, c auth.Caller, q hostler.StatsQuery) (hostler.Stats, error) {
	g, err := a.allow(c, auth.ReadStats)
	if err != nil {
		return hostler.Stats{}, err
	}
	after, limit, err := pageOf(q.Page)
	if err != nil {
		return hostler.Stats{}, err
	}
	q.By = cmp.Or(q.By, hostler.StatsByAction)
	return list(ctx, g, func(s *scope) (hostler.Stats, error) {
		r, err := statsRangeOf(q, s.Now())
		if err != nil {
			return hostler.Stats{}, err
		}
		limit := min(limit, max(1, maxStatsRows/(2*r.spans())))
		out := hostler.Stats{By: q.By, From: r.from, To: r.to, Step: q.Step, Items: []hostler.StatsItem{}}
		names := []string{q.Name}
		if q.Name == "" {
			if names, err = s.StatsNames(s.project, q.By, store.Daily, after, limit+1); err != nil {
				return hostler.Stats{}, err
			}
		}
		if len(names) > limit {
			names = names[:limit]
			out.Next = cursor(names[limit-1])
		}
		now, err := s.Tx.Stats(s.project, q.By, r.span, names, r.from, r.to)
		if err != nil {
			return hostler.Stats{}, err
		}
		before, err := s.Tx.Stats(s.project, q.By, r.span, names, r.from.Add(-week), r.to.Add(-week))
		out.Items = append(out.Items, statsItems(now, before, q.Step != "")...)
		return out, err
	})
}

// statsRange is a range of whole spans.
type statsRange struct {
	from, to time.Time
	span     time.Duration
}

func (r statsRange) spans() int { return int(r.to.Sub(r.from) / r.span) }

// statsRangeOf checks a query for statistics.
func statsRangeOf(q hostler.StatsQuery, now time.Time) (statsRange, error) {
	var fields check.Fields
	check.OneOf(&fields, "by", q.By, hostler.StatsByAction, hostler.StatsByQueue, hostler.StatsByUser,
		hostler.StatsByAsset, hostler.StatsBySchedule, hostler.StatsByTask)
	check.OneOf(&fields, "step", q.Step, "", hostler.StatsHour, hostler.StatsDay)
	fields.Line("name", q.Name, 300)
	fields.Time("from", q.From)
	fields.Time("to", q.To)
	if err := fields.Err(); err != nil {
		return statsRange{}, err
	}
	r := statsRange{to: now, span: store.Daily}
	if q.To != nil {
		r.to = *q.To
	}
	r.from = r.to.Add(-week)
	if q.From != nil {
		r.from = *q.From
	}
	fields.Require(r.from.Before(r.to), "from", "must be before to", "须早于 to")
	fields.Require(r.to.Sub(r.from) <= store.DaysKept, "from", "must be at most 400 days before to", "与 to 最多相隔 400 天")
	hours := store.HasSpan(q.By, store.Hourly)
	recent := r.from.After(now.Add(-store.HoursKept))
	if q.Step == hostler.StatsHour {
		fields.Require(hours, "step", "must be day: assets are counted by day", "须为 day：资产按天统计")
		fields.Require(recent, "step", "must be day: hours are kept for 35 days", "须为 day：小时数据仅保留 35 天")
	}
	if q.Step == hostler.StatsHour || q.Step == "" && hours && recent && r.to.Sub(r.from) <= fineRange {
		r.span = store.Hourly
	}
	r.from, r.to = r.from.UTC().Truncate(r.span), r.to.UTC().Add(r.span-1).Truncate(r.span)
	if q.From == nil {
		r.from = r.to.Add(-week) // whole spans, none of which is in the week before too
	}
	return r, fields.Err()
}

// statsItems adds up rows, which are in the order of their names.
func statsItems(now, before []store.StatsRow, series bool) []hostler.StatsItem {
	earlier := map[string]*stats.Figures{}
	for i := range before {
		if earlier[before[i].Name] == nil {
			earlier[before[i].Name] = &stats.Figures{}
		}
		earlier[before[i].Name].Merge(&before[i].Figures)
	}
	var items []hostler.StatsItem
	for len(now) > 0 {
		n := 1
		for n < len(now) && now[n].Name == now[0].Name {
			n++
		}
		items = append(items, statsItem(now[:n], earlier[now[0].Name], series))
		now = now[n:]
	}
	return items
}

// statsItem adds up the rows of one name; was are the figures of a week before.
func statsItem(rows []store.StatsRow, was *stats.Figures, series bool) hostler.StatsItem {
	var sum stats.Figures
	item := hostler.StatsItem{Name: rows[0].Name}
	for i := range rows {
		sum.Merge(&rows[i].Figures)
		if series {
			item.Series = append(item.Series, hostler.StatsPoint{At: rows[i].At, Figures: figuresOf(&rows[i].Figures)})
		}
	}
	item.Figures = figuresOf(&sum)
	if was == nil {
		was = &stats.Figures{}
	}
	item.WeekBefore = figuresOf(was)
	item.Trend = trendOf(item.WeekBefore, item.Figures)
	return item
}

// figuresOf are figures as people see them.
func figuresOf(f *stats.Figures) hostler.Figures {
	out := hostler.Figures{
		Count: f.Count(), Success: f.Succeeded, Failure: f.Failed, Cancelled: f.Cancelled,
		Run: timesOfJobs(f.Started, f.RunTotal, &f.RunTimes), Wait: timesOfJobs(f.Started, f.WaitTotal, &f.WaitFor),
		Last: timeOrNil(f.Last), Streak: f.Streak, Missed: f.Missed,
	}
	if rate, ok := f.SuccessRate(); ok {
		out.SuccessRate = &rate
	}
	return out
}

func timesOfJobs(n int64, total time.Duration, h *stats.Histogram) hostler.Times {
	if n == 0 {
		return hostler.Times{}
	}
	return hostler.Times{
		Total: total.Seconds(), Average: total.Seconds() / float64(n),
		P50: h.Quantile(0.5).Seconds(), P95: h.Quantile(0.95).Seconds(),
	}
}

func trendOf(was, now hostler.Figures) hostler.Trend {
	change := func(was, now float64) *float64 {
		if was == 0 {
			return nil
		}
		d := (now - was) / was
		return &d
	}
	t := hostler.Trend{
		Count: change(float64(was.Count), float64(now.Count)), RunP95: change(was.Run.P95, now.Run.P95),
		WaitP95: change(was.Wait.P95, now.Wait.P95),
	}
	if was.SuccessRate != nil && now.SuccessRate != nil {
		d := *now.SuccessRate - *was.SuccessRate
		t.SuccessRate = &d
	}
	return t
}

// ExportStats returns a function that writes statistics as CSV: a line for each name, or
// for each name and step.
func (a *App) ExportStats(ctx context.Context, c auth.Caller, q hostler.StatsQuery) (Export, error) {
	page, err := a.Stats(ctx, c, q)
	if err != nil {
		return nil, err
	}
	q.From, q.To = &page.From, &page.To // the same for all pages
	return func(w io.Writer, renew Renewal) error {
		out := csv.NewWriter(w)
		_, err := io.WriteString(w, assetfile.ByteOrderMark)
		_ = out.Write(statsColumns) // out keeps its error
		for err == nil {
			for i := range page.Items {
				writeStats(out, &page.Items[i], q.Step != "")
			}
			if out.Flush(); out.Error() != nil || page.Next == "" {
				return out.Error()
			}
			if c, err = renew(); err != nil {
				return err
			}
			q.Cursor = page.Next
			page, err = a.Stats(ctx, c, q)
		}
		return err
	}, nil
}

var statsColumns = []string{
	"name", "at", "count", "success", "failure", "cancelled", "success_rate", "run_total", "run_avg", "run_p50", "run_p95",
	"wait_total", "wait_avg", "wait_p50", "wait_p95", "last",
	"failures_in_row", "missed",
}

func writeStats(out *csv.Writer, item *hostler.StatsItem, series bool) {
	line := func(at string, f *hostler.Figures) {
		cells := []string{assetfile.Escape(item.Name), at}
		for _, n := range []int64{f.Count, f.Success, f.Failure, f.Cancelled} {
			cells = append(cells, strconv.FormatInt(n, 10))
		}
		rate, last := "", ""
		if f.SuccessRate != nil {
			rate = strconv.FormatFloat(*f.SuccessRate, 'f', 4, 64)
		}
		if f.Last != nil {
			last = f.Last.UTC().Format(time.RFC3339)
		}
		cells = append(cells, rate)
		for _, t := range []hostler.Times{f.Run, f.Wait} {
			for _, v := range []float64{t.Total, t.Average, t.P50, t.P95} {
				cells = append(cells, strconv.FormatFloat(v, 'f', 6, 64))
			}
		}
		cells = append(cells, last, strconv.FormatInt(f.Streak, 10), strconv.FormatInt(f.Missed, 10))
		_ = out.Write(cells) // out keeps its error
	}
	if !series {
		line("", &item.Figures)
	}
	for i := range item.Series {
		line(item.Series[i].At.Format(time.RFC3339), &item.Series[i].Figures)
	}
}

// Totals are the figures of all jobs that ever ended, of all projects together.
type Totals struct{ Actions, Queues map[string]*stats.Figures }

// TaskFigures reads the totals for monitoring.
func (a *App) TaskFigures(ctx context.Context) (out Totals, err error) {
	err = a.work.View(ctx, func(tx *store.Tx) error {
		totals, err := tx.Totals(0, hostler.StatsByAction, hostler.StatsByQueue)
		out = Totals{totals[hostler.StatsByAction], totals[hostler.StatsByQueue]}
		return err
	})
	return out, err
}
