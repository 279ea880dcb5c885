package app

import (
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/flow"
	"hostler.dev/hostler/internal/store"
)

// This file lets schedules fire less often while the workers are loaded.

const (
	// loadMargin is by how much the load must fall below the threshold before a schedule
	// returns to its own pace, and minPace how long it keeps a pace at least.
	loadMargin = 1.1
	minPace    = time.Minute
)

// loadValues are what the condition of a slow-down sees, in percent.
func loadValues(l store.WorkerLoad, factor float64) map[string]float64 {
	return map[string]float64{"cpu": l.CPU * factor, "slots": l.Slots * factor}
}

func checkSlowDown(fields *check.Fields, in *hostler.SlowDown) {
	if in == nil {
		return
	}
	fields.Given("slow_down.when", in.When)
	fields.Line("slow_down.when", in.When, 200)
	if _, err := flow.HoldsFor(in.When, loadValues(store.WorkerLoad{}, 1)); err != nil {
		fields.Add("slow_down.when", "must be a condition on cpu and slots, such as cpu > 80 or slots >= 95",
			"须为对 cpu、slots 的条件，如 cpu > 80 or slots >= 95")
	}
	fields.Duration("slow_down.every", in.Every, maxGrace)
	fields.Require(in.Every >= hostler.Duration(time.Second), "slow_down.every", "must be at least 1s", "至少 1s")
}

// slowed decides whether a schedule fires less often now. A change is an event.
func (f *firing) slowed() (bool, error) {
	in, was := f.row.SlowDown, !f.row.SlowedAt.IsZero()
	is := false
	if in != nil {
		load, err := f.WorkerLoad()
		if err != nil {
			return false, err
		}
		factor := 1.0
		if was {
			factor = loadMargin
		}
		if is, err = flow.HoldsFor(in.When, loadValues(load, factor)); err != nil {
			is = false // the schedule goes on at its own pace
		}
	}
	if is == was || in != nil && f.Now().Sub(f.row.PaceAt) < minPace {
		return was, nil
	}
	event := hostler.EventScheduleSlowed
	f.row.SlowedAt = f.Now()
	if !is {
		event, f.row.SlowedAt = hostler.EventSchedulePace, time.Time{}
	}
	f.row.PaceAt = f.Now()
	f.Emit(f.row.ProjectID, event, hostler.ObjectEvent{Object: f.row.Name})
	return is, nil
}

// passOver records a fire that comes too soon after the last one while the workers are
// loaded. Those that follow each other are one entry. It reports whether it does.
func (f *firing) passOver(fire *store.FireRow) (bool, error) {
	if f.row.SlowDown == nil && f.row.SlowedAt.IsZero() {
		return false, nil
	}
	slowed, err := f.slowed()
	if err != nil || !slowed {
		return false, err
	}
	last, err := f.StartedFires(f.row.ID, fire.At.Add(-f.row.SlowDown.Every.D()+time.Microsecond), afterFires)
	byTimer := func(r store.FireRow) bool { return r.Trigger == hostler.FireTimer }
	if err != nil || !slices.ContainsFunc(last, byTimer) {
		return false, err
	}
	fire.State = hostler.FireSkipped
	fire.Reason = reason("the workers are loaded (%s): it fires every %s until they are not",
		"工作节点负载高（%s）：在此期间每 %s 触发一次", f.row.SlowDown.When, f.row.SlowDown.Every)
	return true, nil
}
