package engine

import (
	"context"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/alert"
	"hostler.dev/hostler/internal/stats"
	"hostler.dev/hostler/internal/store"
)

const (
	// alertRound is how often all rules are evaluated, if alertSteps of each alertTick
	// suffice for it. A step reads up to alertRows rows of statistics, of up to alertNames.
	alertRound = 15 * time.Second
	alertTick  = 3 * time.Second
	alertSteps = 20
	alertRows  = 5000
	alertNames = 500
	// alertsKept is how long resolved alerts are listed.
	alertsKept = 30 * 24 * time.Hour
	// unresolvedCounted is how many jobs with an unknown outcome are counted.
	unresolvedCounted = 10_000
)

// alertsOnce evaluates alert rules, as many as one tick may.
func (e *Engine) alertsOnce(ctx context.Context) error {
	for range alertSteps {
		if more, err := e.alertStep(ctx); err != nil || !more {
			return err
		}
	}
	return nil
}

// alertStep reads the figures of a step apart from the transaction that stores what it
// found, which is short.
func (e *Engine) alertStep(ctx context.Context) (more bool, err error) {
	var s *store.AlertStep
	var told *hostler.AlertNotice
	err = e.store.View(ctx, func(tx *store.Tx) (err error) {
		if s, err = tx.NextAlertStep(alertRound); err == nil && s != nil && s.Rule != nil && *s.Rule.Input.Enabled {
			err = evaluate(tx, s)
		}
		return err
	})
	if err != nil || s == nil {
		return false, err
	}
	err = e.store.InTx(ctx, func(tx *store.Tx) (err error) {
		more, told, err = tx.StoreAlerts(s, func(v float64) hostler.Text { return alert.Text(s.Rule.Input, v) })
		return err
	})
	if err == nil && told != nil && len(told.Firing) > 0 {
		e.log.WarnContext(ctx, "alerts are firing", "alert", s.Rule.Name, "kind", told.Kind, "first", told.Firing[0].Target,
			"text", told.Firing[0].Text.EN, "firing", len(told.Firing), "more", told.More)
	}
	return more && s.Rule != nil, err
}

// evaluate measures the targets of a step.
func evaluate(tx *store.Tx, s *store.AlertStep) error {
	r := s.Rule
	if alert.OfFigures(r.Input.Kind) {
		return evaluateFigures(tx, s)
	}
	values, err := valuesOf(tx, r)
	for target, v := range values {
		if (r.Input.Target == "" || r.Input.Target == target) && alert.Fires(r.Input, v) {
			s.Firing[target] = v
		}
	}
	return err
}

// valuesOf measures all targets of a rule that does not look at statistics.
func valuesOf(tx *store.Tx, r *store.AlertRuleRow) (map[string]float64, error) {
	values := map[string]float64{}
	switch r.Input.Kind {
	case hostler.AlertQueueAge:
		oldest, err := tx.OldestReady(r.Project)
		for queue, since := range oldest {
			values[queue] = max(0, tx.Now().Sub(since).Seconds())
		}
		return values, err
	case hostler.AlertWorkerLost:
		workers, err := tx.Workers()
		live := map[string]bool{}
		for i := range workers {
			live[workers[i].Name] = live[workers[i].Name] || workers[i].State != "dead"
		}
		for i := range workers {
			if w := &workers[i]; !live[w.Name] {
				values[w.Name] = max(0, tx.Now().Sub(w.LastHeartbeat).Seconds())
			}
		}
		return values, err
	case hostler.AlertUnknown:
		n, err := tx.CountUnresolved(r.Project, unresolvedCounted)
		values[""] = float64(n)
		return values, err
	default: // alert.OfFigures
		return values, nil
	}
}

// evaluateFigures measures the next names of a rule that looks at statistics.
func evaluateFigures(tx *store.Tx, s *store.AlertStep) error {
	r := s.Rule
	w := alert.WindowOf(r.Input, tx.Now())
	names := []string{r.Input.Target}
	if r.Input.Target == "" {
		limit := min(alertNames, max(1, alertRows/w.Rows()))
		var err error
		if names, err = tx.StatsNames(r.Project, r.Input.By, store.Daily, s.After, limit); err != nil {
			return err
		}
		if len(names) == limit {
			s.Last = names[limit-1]
		}
	}
	window, err := sumOf(tx, r, w.Span, names, w.From, w.To)
	if err != nil {
		return err
	}
	var usual map[string]*stats.Figures
	var running map[string]time.Time
	if r.Input.Kind == hostler.AlertSlow {
		if usual, err = sumOf(tx, r, store.Daily, names, w.Before, w.Today); err != nil {
			return err
		}
		if running, err = tx.LongestRunning(r.Project, r.Input.By, names); err != nil {
			return err
		}
	}
	for _, name := range names {
		var longest time.Duration
		if since := running[name]; !since.IsZero() {
			longest = tx.Now().Sub(since)
		}
		v, known := alert.Value(r.Input, orNone(window[name]), orNone(usual[name]), longest)
		if known && alert.Fires(r.Input, v) {
			s.Firing[name] = v
		}
	}
	return nil
}

func orNone(f *stats.Figures) *stats.Figures {
	if f == nil {
		return &stats.Figures{}
	}
	return f
}

// sumOf adds up the statistics of names in a range of time.
func sumOf(
	tx *store.Tx, r *store.AlertRuleRow, span time.Duration, names []string, from, to time.Time,
) (map[string]*stats.Figures, error) {
	rows, err := tx.Stats(r.Project, r.Input.By, span, names, from, to)
	out := map[string]*stats.Figures{}
	for i := range rows {
		f := out[rows[i].Name]
		if f == nil {
			f = &stats.Figures{}
			out[rows[i].Name] = f
		}
		f.Merge(&rows[i].Figures)
	}
	return out, err
}
