package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/schedule"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

// This file forecasts what schedules will do. What it needs is read on one snapshot; the
// simulation is pure, and bounded in schedules, fires and lanes.

const (
	maxForecastDays      = 60
	maxForecastSchedules = 1000
	maxForecastFires     = 200_000 // that are simulated
	maxForecastFlows     = 100     // schedules of tasks and templates that are prepared
	maxForecastLanes     = 100     // of one schedule
	maxForecastGroups    = 500     // lanes with the same schedules
	forecastShown        = 100     // collisions and overloads
	// assumedRun is how long a run takes that nothing is known of.
	assumedRun = 10 * time.Second
	// learnedFrom is how far back the durations are read.
	learnedFrom = 14 * 24 * time.Hour
)

// subject is a schedule in a forecast.
type subject struct {
	schedule.Subject
	hostler.ForecastSchedule
	lanes []string
	jobs  map[string]int // by queue
	fires []schedule.Forecast
}

// Forecast simulates the fires of the coming days.
func (a *App) Forecast(ctx context.Context, c auth.Caller, q hostler.ForecastQuery) (hostler.Forecast, error) {
	g, err := a.allow(c, auth.ReadSchedule)
	if err != nil {
		return hostler.Forecast{}, err
	}
	var fields check.Fields
	check.Between(&fields, "days", q.Days, 0, maxForecastDays)
	check.Between(&fields, "limit", q.Limit, 0, 10_000)
	if err := fields.Err(); err != nil {
		return hostler.Forecast{}, err
	}
	commands := a.commands(ctx, g, nil)
	if err := commands.prepare(); err != nil {
		return hostler.Forecast{}, err
	}
	out := hostler.Forecast{
		Schedules: []hostler.ForecastSchedule{}, Fires: []hostler.ForecastFire{},
		Collisions: []hostler.ForecastCollision{}, Overloads: []hostler.ForecastOverload{},
	}
	var subjects []*subject
	var capacity map[string]int
	_, err = list(ctx, g, func(s *scope) (none struct{}, err error) {
		s.planning = true
		out.From = s.Now()
		if subjects, out.More, err = s.subjects(q.Schedule, commands); err == nil {
			capacity, err = s.capacities(subjects)
		}
		return none, err
	})
	if err != nil {
		return hostler.Forecast{}, err
	}
	out.To = out.From.AddDate(0, 0, cmp.Or(q.Days, 7))
	if err := simulate(ctx, &out, subjects, cmp.Or(q.Limit, 1000)); err != nil {
		return hostler.Forecast{}, err
	}
	collide(&out, subjects)
	overload(&out, subjects, capacity)
	return out, nil
}

// subjects reads the schedules that fire.
func (s *scope) subjects(name string, commands *commandCheck) (out []*subject, more bool, err error) {
	var rows []store.ScheduleRow
	if name != "" {
		row, err := s.findSchedule(s.Tx.Schedule, name)
		if err != nil {
			return nil, false, err
		}
		rows = []store.ScheduleRow{*row}
	} else if rows, err = s.Tx.Schedules(s.project, "", maxForecastSchedules+1); err != nil {
		return nil, false, err
	}
	if len(rows) > maxForecastSchedules {
		rows, more = rows[:maxForecastSchedules], true
	}
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name
	}
	learned, err := s.learned(names)
	if err != nil {
		return nil, false, err
	}
	flows := 0
	for i := range rows {
		row := &rows[i]
		if !row.Enabled || row.NextAt.IsZero() {
			continue
		}
		if row.Task.IsFlow() {
			flows++
		}
		sub, err := s.subject(row, learned[row.Name], commands, flows <= maxForecastFlows)
		if err != nil {
			return nil, false, err
		}
		out = append(out, sub)
	}
	return out, more, nil
}

// learned are the median durations of jobs by schedule, from the statistics.
func (s *scope) learned(names []string) (map[string]time.Duration, error) {
	now := s.Now()
	rows, err := s.Tx.Stats(s.project, hostler.StatsBySchedule, store.Daily, names, now.Add(-learnedFrom), now)
	if err != nil {
		return nil, err
	}
	all := map[string]*stats.Figures{}
	for i := range rows {
		if all[rows[i].Name] == nil {
			all[rows[i].Name] = &stats.Figures{}
		}
		all[rows[i].Name].Merge(&rows[i].Figures)
	}
	out := map[string]time.Duration{}
	for name, f := range all {
		if f.Started > 0 {
			out[name] = max(time.Millisecond, f.RunTimes.Quantile(0.5))
		}
	}
	return out, nil
}

func (s *scope) subject(
	row *store.ScheduleRow, run time.Duration, commands *commandCheck, prepare bool,
) (*subject, error) {
	times, err := timesOf(row)
	if err != nil {
		return nil, err
	}
	sub := &subject{jobs: map[string]int{}}
	sub.Name, sub.Learned = row.Name, run > 0
	if row.Task.IsFlow() {
		// The jobs of a flow follow each other: its runs tell how long it takes.
		if run, err = s.RunTime(row.ID); err != nil {
			return nil, err
		}
		sub.Learned = run > 0
	}
	sub.ForecastSchedule.Run = cmp.Or(run, assumedRun).Seconds()
	var targets []store.Target
	switch {
	case !row.Task.IsFlow():
		targets, err = s.jobsOf(sub, row)
	case prepare:
		targets, err = s.flowOfSubject(sub, row, commands)
	}
	if err != nil {
		if hostler.CodeOf(err) == hostler.CodeInternal {
			return nil, err
		}
		sub.Problem = textOf(err)
	}
	for _, n := range sub.jobs {
		sub.Jobs += n
	}
	calendars, err := s.calendarsOf(begin{calendar: row.Calendar, targets: targets})
	if err != nil && hostler.CodeOf(err) == hostler.CodeInternal {
		return nil, err
	}
	sub.Subject = schedule.Subject{
		ID: row.ID, Times: times, Next: row.NextAt, Run: cmp.Or(run, assumedRun),
		Policy: schedule.Policy{
			Grace: row.MisfireGrace.D(), Coalesce: row.Coalesce, MaxInstances: row.MaxInstances, Overlap: row.Overlap,
		},
		Open: openingOf(calendars),
	}
	return sub, nil
}

// openingOf is opening, which remembers the last span in which the calendars are closed.
func openingOf(calendars []openCalendar) func(at time.Time) time.Time {
	var from, until time.Time
	return func(at time.Time) time.Time {
		if !at.Before(from) && at.Before(until) {
			return until
		}
		opens := opening(calendars, at)
		if opens.After(at) {
			from, until = at, opens
		}
		return opens
	}
}

// opening is when a fire that is due at a time may begin; zero when it is skipped.
func opening(calendars []openCalendar, at time.Time) time.Time {
	switch closed := closedAt(calendars, at); {
	case closed == nil:
		return at
	case closed.effect == hostler.ClosedWait:
		return closed.until
	}
	return time.Time{}
}

// jobsOf sets what the runs of an action want.
func (s *scope) jobsOf(sub *subject, row *store.ScheduleRow) ([]store.Target, error) {
	p, err := s.app.planSchedule(row.Schedule, hostler.ScheduleRunInput{}, "task.")
	if err != nil {
		return nil, err
	}
	targets, err := s.findTargets(p)
	if err != nil {
		return nil, err
	}
	sub.jobs[p.spec.Queue] = len(targets)
	sub.addLanes(p.lane == hostler.LaneAsset, p.spec.LaneKey, targets)
	return targets, nil
}

func (sub *subject) addLanes(ofAsset bool, key string, targets []store.Target) {
	if key != "" && !ofAsset {
		sub.lanes = append(sub.lanes, key)
		return
	}
	for _, t := range targets {
		if ofAsset && t.Name != "" && len(sub.lanes) < maxForecastLanes {
			sub.lanes = append(sub.lanes, t.Name)
		}
	}
}

// flowOfSubject sets what the runs of a task or template want: of each queue, the most jobs
// that a step has.
func (s *scope) flowOfSubject(
	sub *subject, row *store.ScheduleRow, commands *commandCheck,
) (targets []store.Target, err error) {
	in, err := flowOf(&row.Schedule, hostler.ScheduleRunInput{})
	if err != nil {
		return nil, err
	}
	n, err := s.newRun(in, 0, commands)
	if err != nil {
		return nil, err
	}
	for _, step := range n.rows() {
		if step.Jobs == "" {
			continue
		}
		var jobs store.StepJobs
		if err := json.Unmarshal([]byte(step.Jobs), &jobs); err != nil {
			return nil, fmt.Errorf("decode the jobs of a step: %w", err)
		}
		sub.jobs[jobs.Queue] = max(sub.jobs[jobs.Queue], step.Total)
		sub.addLanes(jobs.AssetLane, jobs.LaneKey, n.setSeen[step.HostSet])
	}
	for _, set := range n.setSeen {
		targets = append(targets, set...)
	}
	return targets, nil
}

// capacities are how many jobs of each queue can run at once.
func (s *scope) capacities(subjects []*subject) (map[string]int, error) {
	workers, err := s.Workers()
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, sub := range subjects {
		for queue := range sub.jobs {
			if _, known := out[queue]; known {
				continue
			}
			out[queue] = 0
			for _, w := range workers {
				if w.State != "dead" && (slices.Contains(w.Queues, "*") || slices.Contains(w.Queues, queue)) {
					out[queue] += w.Slots
				}
			}
			q, err := s.queue(queue)
			if err != nil && hostler.CodeOf(err) != hostler.CodeNotFound {
				return nil, err
			}
			if q.Limit > 0 {
				out[queue] = min(out[queue], q.Limit)
			}
		}
	}
	return out, nil
}

// simulate simulates the fires of all schedules, and lists the first.
func simulate(ctx context.Context, out *hostler.Forecast, subjects []*subject, limit int) error {
	left := maxForecastFires
	for i, sub := range subjects {
		if err := ctx.Err(); err != nil {
			return err // the client has left
		}
		share := left / (len(subjects) - i) // what others leave is for those behind them
		n := sub.Forecast(out.To, share, func(f schedule.Forecast) {
			sub.fires = append(sub.fires, f)
			switch f.State {
			case hostler.FireStarted:
				sub.Started++
			case hostler.FireSkipped, hostler.FireMerged, hostler.FireReplaced:
				sub.Skipped++
			case hostler.FireQueued, hostler.FireMissed, hostler.FireRefused:
			}
			if f.Over {
				sub.Over++
			}
		})
		left -= n
		sub.Fires = n
		out.More = out.More || n == share
		out.Schedules = append(out.Schedules, sub.ForecastSchedule)
		for _, f := range sub.fires[:min(limit, len(sub.fires))] {
			fire := hostler.ForecastFire{Schedule: sub.Name, At: f.At.In(sub.Times.Zone()), State: f.State, Over: f.Over}
			if !f.End.IsZero() {
				fire.Start, fire.End = &f.Start, &f.End
			}
			out.Fires = append(out.Fires, fire)
		}
		out.More = out.More || len(sub.fires) > limit
	}
	slices.SortStableFunc(out.Fires, func(a, b hostler.ForecastFire) int { return a.At.Compare(b.At) })
	if len(out.Fires) > limit {
		out.Fires, out.More = out.Fires[:limit], true
	}
	return nil
}

// span is a time in which a run of a schedule wants something.
type span struct {
	from, to time.Time
	of, n    int
}

func spansOf(subjects []*subject, of []int, n func(sub *subject) int) (out []span) {
	for _, i := range of {
		for _, f := range subjects[i].fires {
			if !f.End.IsZero() && f.End.After(f.Start) {
				out = append(out, span{f.Start, f.End, i, n(subjects[i])})
			}
		}
	}
	slices.SortFunc(out, func(a, b span) int { return a.from.Compare(b.from) })
	return out
}

// collide finds runs of several schedules that want the same lane. Lanes that the same
// schedules want are looked at once.
func collide(out *hostler.Forecast, subjects []*subject) {
	wanted := map[string][]int{}
	for i, sub := range subjects {
		for _, lane := range sub.lanes {
			if of := wanted[lane]; len(of) == 0 || of[len(of)-1] != i {
				wanted[lane] = append(of, i)
			}
		}
	}
	lanes, of := map[string][]string{}, map[string][]int{}
	for _, lane := range slices.Sorted(maps.Keys(wanted)) {
		if key := fmt.Sprint(wanted[lane]); len(wanted[lane]) > 1 && (len(lanes[key]) > 0 || len(lanes) < maxForecastGroups) {
			lanes[key], of[key] = append(lanes[key], lane), wanted[lane]
		}
	}
	for _, key := range slices.Sorted(maps.Keys(lanes)) {
		c := hostler.ForecastCollision{Lane: lanes[key][0], Lanes: len(lanes[key])}
		in := map[string]bool{}
		var last span
		for i, sp := range spansOf(subjects, of[key], func(*subject) int { return 1 }) {
			if i > 0 && sp.from.Before(last.to) && sp.of != last.of {
				if c.Count++; c.Count == 1 {
					c.First = sp.from
				}
				in[subjects[sp.of].Name], in[subjects[last.of].Name] = true, true
			}
			if sp.to.After(last.to) {
				last = sp
			}
		}
		if c.Schedules = slices.Sorted(maps.Keys(in)); c.Count > 0 {
			out.Collisions = append(out.Collisions, c)
		}
	}
	slices.SortStableFunc(out.Collisions, func(a, b hostler.ForecastCollision) int { return a.First.Compare(b.First) })
	if len(out.Collisions) > forecastShown {
		out.Collisions, out.More = out.Collisions[:forecastShown], true
	}
}

// overload finds the times at which a queue has more jobs than can run at once.
func overload(out *hostler.Forecast, subjects []*subject, capacity map[string]int) {
	for _, queue := range slices.Sorted(maps.Keys(capacity)) {
		var of []int
		for i, sub := range subjects {
			if sub.jobs[queue] > 0 {
				of = append(of, i)
			}
		}
		starts := spansOf(subjects, of, func(sub *subject) int { return sub.jobs[queue] })
		ends := slices.Clone(starts)
		slices.SortFunc(ends, func(a, b span) int { return a.to.Compare(b.to) })
		jobs, ended := 0, 0
		var now *hostler.ForecastOverload
		for _, sp := range starts {
			for ; ended < len(ends) && !ends[ended].to.After(sp.from); ended++ {
				if jobs -= ends[ended].n; now != nil && jobs <= capacity[queue] {
					now.Until = ends[ended].to
					out.Overloads = append(out.Overloads, *now)
					now = nil
				}
			}
			if jobs += sp.n; jobs > capacity[queue] {
				if now == nil {
					now = &hostler.ForecastOverload{Queue: queue, At: sp.from, Capacity: capacity[queue]}
				}
				now.Jobs = max(now.Jobs, jobs)
			}
		}
		for ; now != nil && ended < len(ends); ended++ {
			if jobs -= ends[ended].n; jobs <= capacity[queue] {
				now.Until = ends[ended].to
				out.Overloads = append(out.Overloads, *now)
				now = nil
			}
		}
	}
	slices.SortStableFunc(out.Overloads, func(a, b hostler.ForecastOverload) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Queue, b.Queue))
	})
	if len(out.Overloads) > forecastShown {
		out.Overloads, out.More = out.Overloads[:forecastShown], true
	}
}
