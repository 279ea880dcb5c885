package app_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/app"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/store"
)

// addUp publishes the events, and adds up what ended.
func (w *env) addUp(t *testing.T) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) error {
		_, _, err := tx.Publish(1000)
		return err
	})
	for {
		var s *store.StatsStep
		w.tx(t, func(tx *store.Tx) (err error) {
			if s, err = tx.EndedEvents(); err == nil && !s.Idle() {
				_, err = tx.AddStats(s)
			}
			return err
		})
		if s.Idle() {
			return
		}
	}
}

// TestStatsOfAWeek reads the figures, the trend and the file of the jobs of two weeks; one
// is on a host with a name that a spreadsheet would evaluate.
func TestStatsOfAWeek(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		ctx := t.Context()
		w.asset(t, hostler.AssetInput{Name: "web1"})
		w.put(t, w.operator, "check", everyMinute())
		k := w.worker(t)
		run := func(n int, took time.Duration, o hostler.Outcome) {
			for range n {
				must(w.RunSchedule(ctx, w.operator, app.RunScheduleRequest{Schedule: "check"}))(t)
				leases := k.lease(t, 1)
				w.h.Advance(took)
				k.finish(t, leases, o)
			}
		}
		run(2, time.Second, hostler.OutcomeSucceeded)
		w.addUp(t)
		w.h.Advance(7 * 24 * time.Hour)
		run(3, 2*time.Second, hostler.OutcomeSucceeded)
		run(1, 2*time.Second, hostler.OutcomeFailed)
		w.addUp(t)

		s := must(w.Stats(ctx, w.viewer, hostler.StatsQuery{By: hostler.StatsBySchedule, Step: hostler.StatsDay}))(t)
		if len(s.Items) != 1 || s.Items[0].Name != "check" {
			t.Fatalf("items %+v", s.Items)
		}
		i := s.Items[0]
		if i.Count != 4 || i.WeekBefore.Count != 2 || *i.SuccessRate != 0.75 || *i.Trend.Count != 1 ||
			*i.Trend.SuccessRate != -0.25 || len(i.Series) != 1 || i.Series[0].Count != 4 {
			t.Errorf("figures %+v", i)
		}
		if p := i.Run.P95; p < 1.9 || p > 2.1 || i.Run.Total != 8 || i.Run.Average != 2 {
			t.Errorf("run times %+v", i.Run)
		}
		w.tx(t, func(tx *store.Tx) error {
			spec := hostler.JobSpec{
				Project: w.viewer.Project, Queue: "default", Action: "check_port", AssetName: "=1+1", Priority: 5, MaxAttempts: 1,
				OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
			}
			_, err := tx.Enqueue([]hostler.JobSpec{spec})
			return err
		})
		k.finish(t, k.lease(t, 1), hostler.OutcomeSucceeded)
		w.addUp(t)
		var file bytes.Buffer
		write := must(w.ExportStats(ctx, w.viewer, hostler.StatsQuery{By: hostler.StatsByAsset}))(t)
		if err := write(&file, func() (auth.Caller, error) { return w.viewer, nil }); err != nil {
			t.Fatal(err)
		}
		if lines := strings.Split(file.String(), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], "'=1+1,,1,1,0,0,1.0000,") ||
			!strings.HasPrefix(lines[2], "web1,,4,3,1,0,0.7500,8.") {
			t.Errorf("file %q", file.String())
		}
		wantCode(t, second(w.Stats(ctx, w.viewer, hostler.StatsQuery{By: hostler.StatsByAsset, Step: hostler.StatsHour})),
			hostler.CodeInvalid)
		wantCode(t, second(w.Stats(ctx, w.viewer, hostler.StatsQuery{By: "mood"})), hostler.CodeInvalid)
		if st := must(w.ActionStats(ctx, w.viewer))(t); len(st) != 1 {
			t.Errorf("task stats %+v", st)
		}
	})
}

// TestStatsPages reads the statistics of many names page by page.
func TestStatsPages(t *testing.T) {
	eachEnv(t, func(t *testing.T, w *env) {
		w.tx(t, func(tx *store.Tx) error {
			_, err := tx.SetQueue("bulk", store.QueueSettings{})
			return err
		})
		k := w.worker(t)
		for _, queue := range []string{"bulk", "default"} {
			w.run(t, hostler.JobRequest{Action: "ping", Queue: queue})
		}
		k.finish(t, k.lease(t, 2), hostler.OutcomeSucceeded)
		w.addUp(t)
		q := hostler.StatsQuery{By: hostler.StatsByQueue, Page: hostler.Page{Limit: 1}}
		var got []string
		for {
			s := must(w.Stats(t.Context(), w.viewer, q))(t)
			for _, i := range s.Items {
				got = append(got, i.Name)
			}
			if s.Next == "" {
				break
			}
			q.Cursor = s.Next
		}
		if strings.Join(got, " ") != "bulk default" {
			t.Errorf("names %v", got)
		}
	})
}
