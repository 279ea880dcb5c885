package app

import (
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// This file lets the fires of schedules wait for the success of other schedules.

const (
	defaultWithin = 24 * time.Hour
	defaultAwait  = time.Hour
	maxAfter      = 10 // schedules that one waits for
	// maxAfterSeen bounds the schedules that are looked at for a circle.
	maxAfterSeen = 200
	// afterPoll is how often a fire that waits looks again.
	afterPoll = 10 * time.Second
	// afterFires is how many fires of a schedule are searched for a success.
	afterFires = 20
)

func checkAfter(fields *check.Fields, name string, in *hostler.After) {
	if in == nil {
		return
	}
	fields.Require(len(in.Schedules) >= 1 && len(in.Schedules) <= maxAfter, "after.schedules",
		"must be 1 to %d names", "须为 1 至 %d 个名称", maxAfter)
	for i, s := range in.Schedules {
		fields.Require(s != name && s != "", check.Item("after.schedules", i), "must be another schedule", "须为另一个计划")
	}
	fields.Duration("after.within", in.Within, maxGrace)
	if in.Wait != nil {
		fields.Duration("after.wait", *in.Wait, maxGrace)
	}
}

// checkAfterCircle checks that the schedules exist that a schedule waits for, and that none of
// them waits for it in turn.
func (s *scope) checkAfterCircle(sch *hostler.Schedule) error {
	if sch.After == nil {
		return nil
	}
	seen, ways := map[string]bool{}, [][]string{}
	for _, name := range sch.After.Schedules {
		ways = append(ways, []string{name})
	}
	for len(ways) > 0 {
		way := ways[0]
		ways = ways[1:]
		name := way[len(way)-1]
		if name == sch.Name {
			return hostler.Invalid("after.schedules", "would wait for each other: %s", "将互相等待：%s",
				strings.Join(append([]string{sch.Name}, way...), " → "))
		}
		if seen[name] {
			continue
		}
		if seen[name] = true; len(seen) > maxAfterSeen {
			return hostler.Invalid("after.schedules", "make a chain of more than %d schedules", "使依赖链超过 %d 个计划", maxAfterSeen)
		}
		row, err := s.findSchedule(s.Tx.Schedule, name)
		if hostler.CodeOf(err) == hostler.CodeNotFound {
			if len(way) == 1 {
				return hostler.Invalid("after.schedules", "does not exist: %s", "不存在：%s", check.Key(name))
			}
			continue
		}
		if err != nil {
			return err
		}
		if row.After != nil {
			for _, next := range row.After.Schedules {
				ways = append(ways, append(append([]string{}, way...), next))
			}
		}
	}
	return nil
}

// checkAfter refuses the run of a fire while a schedule that it waits for has not succeeded.
// The cause of the error is a [closedError].
func (f *firing) checkAfter(at time.Time) error {
	in := f.row.After
	if in == nil {
		return nil
	}
	within, wait := in.Within.D(), defaultAwait
	if within == 0 {
		within = defaultWithin
	}
	if in.Wait != nil {
		wait = in.Wait.D()
	}
	for _, name := range in.Schedules {
		row, err := f.Tx.Schedule(f.row.ProjectID, 0, name)
		if err != nil {
			return err
		}
		if row == nil {
			return hostler.NotFound(scheduleKind, name)
		}
		ok, err := f.succeeded(row, at.Add(-within))
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		e := hostler.Errorf(hostler.CodeConflict, "the schedule %s has not succeeded since %s", "计划 %s 自 %s 以来没有成功",
			name, at.Add(-within).In(f.times.Zone()).Format("2006-01-02 15:04 -07:00"))
		closed := &closedError{name: name, effect: hostler.ClosedSkip}
		if end := at.Add(wait); f.Now().Before(end) {
			closed.effect, closed.until = hostler.ClosedWait, f.Now().Add(afterPoll)
			if end.Before(closed.until) {
				closed.until = end
			}
		}
		e.Cause = closed
		return e
	}
	return nil
}

// succeeded reports whether a run of a schedule that fired since a time has succeeded.
func (f *firing) succeeded(row *store.ScheduleRow, since time.Time) (bool, error) {
	fires, err := f.StartedFires(row.ID, since, afterFires)
	if err != nil {
		return false, err
	}
	for i := range fires {
		id := fires[i].Run
		if store.HasRow(id) {
			run, err := f.Run(row.ProjectID, id)
			if err != nil {
				return false, err
			}
			if run != nil {
				if run.State == hostler.RunSucceeded {
					return true, nil
				}
				continue
			}
		}
		sum, err := f.RunSummary(row.ProjectID, id)
		if err != nil || sum.Done && sum.Total > 0 && sum.States[hostler.StateSucceeded] == sum.Total {
			return err == nil, err
		}
	}
	return false, nil
}
