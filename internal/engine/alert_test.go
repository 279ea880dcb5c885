package engine_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/alert"
	"hostler.dev/hostler/internal/engine"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// alerts are rules under test, evaluated by two servers at the same time.
type alerts struct {
	*env
	h     *storetest.Harness
	other *engine.Engine
	pos   int64
}

func eachAlerts(t *testing.T, fn func(t *testing.T, a *alerts)) {
	t.Helper()
	eachEnv(t, func(t *testing.T, e *env, h *storetest.Harness) {
		other := engine.New(engine.Config{
			Store: h.Store, Retention: time.Hour, Log: slog.New(slog.DiscardHandler), Now: h.Now,
		})
		fn(t, &alerts{env: e, h: h, other: other})
	})
}

func (a *alerts) rule(name string, in hostler.AlertRuleInput) {
	a.t.Helper()
	a.tx(func(tx *store.Tx) error {
		return tx.PutAlertRule(store.AlertRuleRow{Project: a.project, Name: name, Input: alert.Complete(in)}, false)
	})
}

// run runs n jobs of an action, which take a time.
func (a *alerts) run(n int, action string, took time.Duration, o hostler.Outcome) {
	a.t.Helper()
	w := a.register()
	for range n {
		spec := a.spec()
		spec.Action, spec.MaxAttempts = action, 1
		a.enqueue(spec)
		l := a.lease(w, 1)[0]
		a.h.Advance(took)
		r := hostler.Report{LeaseRef: l.LeaseRef, Outcome: o}
		if errs, err := a.engine.Report(a.t.Context(), w, []hostler.Report{r}); err != nil || errs[0] != nil {
			a.t.Fatal(errs, err)
		}
	}
}

// round publishes events, adds them up, and evaluates all rules. It returns what was
// notified of since the last one.
func (a *alerts) round() (told []string) {
	a.t.Helper()
	ctx := a.t.Context()
	a.h.Advance(engine.AlertRound)
	a.tx(func(tx *store.Tx) error {
		_, _, err := tx.Publish(1000)
		return err
	})
	if err := a.engine.StatsOnce(ctx); err != nil {
		a.t.Fatal(err)
	}
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i, e := range []*engine.Engine{a.engine, a.other} {
		both.Go(func() { errs[i] = e.AlertsOnce(ctx) })
	}
	both.Wait()
	// What a server dropped because the other was faster, the next tick does.
	errs = append(errs, a.engine.AlertsOnce(ctx))
	if err := errors.Join(errs...); err != nil {
		a.t.Fatal(err)
	}
	a.tx(func(tx *store.Tx) error {
		told = nil
		if _, _, err := tx.Publish(1000); err != nil {
			return err
		}
		page, err := tx.EventsAfter(a.pos, 1000, 10_000, func(e *store.Event) bool { return e.Object.Alert != nil })
		for _, e := range page.Events {
			line := string(e.Type) + " " + e.Object.Object
			for _, c := range e.Object.Alert.Firing {
				line += " +" + c.Target
			}
			for _, c := range e.Object.Alert.Resolved {
				line += " -" + c.Target
			}
			told = append(told, line)
		}
		a.pos = page.Last
		return err
	})
	return told
}

func (a *alerts) want(when string, got []string, want ...string) {
	a.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		a.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

// TestAlertsAreToldOnce: two servers evaluate the same rules at the same time, and each
// change is told once: grouped, not more often than the limit, and not while it is silenced.
func TestAlertsAreToldOnce(t *testing.T) {
	eachAlerts(t, func(t *testing.T, a *alerts) {
		a.rule("failures", hostler.AlertRuleInput{Kind: hostler.AlertFailures, Channels: []string{"ops"}})
		a.want("nothing ran", a.round())
		a.run(2, "ping", time.Second, hostler.OutcomeFailed)
		a.want("two failures", a.round())
		a.run(1, "ping", time.Second, hostler.OutcomeFailed)
		a.run(3, "check_port", time.Second, hostler.OutcomeFailed)
		a.want("three failures of two actions", a.round(), "alert.firing failures +check_port +ping")
		a.want("no change", a.round())
		a.run(1, "ping", time.Second, hostler.OutcomeSucceeded)
		a.want("within the limit of notifications", a.round())
		a.h.Advance(5 * time.Minute)
		a.want("after it", a.round(), "alert.resolved failures -ping")

		silence := func(until time.Time) {
			a.tx(func(tx *store.Tx) error {
				_, err := tx.PutAlertSilence(store.AlertSilenceRow{
					Project: a.project, Rule: "failures", Target: "ping", Reason: "known", CreatedBy: "li", Until: until,
				})
				return err
			})
		}
		silence(a.h.Now().Add(time.Hour))
		a.h.Advance(5 * time.Minute)
		a.run(3, "ping", time.Second, hostler.OutcomeFailed)
		a.run(1, "check_port", time.Second, hostler.OutcomeSucceeded)
		a.want("one is silenced", a.round(), "alert.resolved failures -check_port")
		a.h.Advance(time.Hour)
		a.want("the silence ended", a.round(), "alert.firing failures +ping")
		a.h.Advance(25 * time.Hour)
		a.want("nothing in the window", a.round(), "alert.resolved failures -ping")
	})
}

// TestAlertsRepeat tells again of what still fires.
func TestAlertsRepeat(t *testing.T) {
	eachAlerts(t, func(t *testing.T, a *alerts) {
		a.rule("lost", hostler.AlertRuleInput{Kind: hostler.AlertWorkerLost, Repeat: hostler.Duration(time.Hour)})
		w := a.register()
		a.want("it lives", a.round())
		a.tx(func(tx *store.Tx) error {
			pulses, err := tx.Pulses()
			if err != nil {
				return err
			}
			_, err = tx.LoseWorkers(pulses)
			return err
		})
		first := a.round()
		if len(first) != 1 || !strings.HasPrefix(first[0], "alert.firing lost +") {
			t.Fatalf("worker %s is lost: %v", w, first)
		}
		a.h.Advance(30 * time.Minute)
		a.want("half an hour", a.round())
		a.h.Advance(30 * time.Minute)
		a.want("an hour", a.round(), first...)
		a.h.Advance(5 * time.Minute)
		a.register() // under the same name
		a.want("it is back", a.round(), strings.Replace(strings.Replace(first[0], "+", "-", 1), "firing", "resolved", 1))
	})
}

// TestAlertKinds has each kind of rule fire, and be resolved or not fire below its threshold.
func TestAlertKinds(t *testing.T) {
	num := func(v float64) *float64 { return &v }
	at := hostler.Duration(0)
	rules := map[string]hostler.AlertRuleInput{
		"a-rate":   {Kind: hostler.AlertSuccessRate, Threshold: num(0.8), Min: 4},
		"b-strict": {Kind: hostler.AlertSuccessRate, Threshold: num(0.7), Min: 4},
		"c-slow":   {Kind: hostler.AlertSlow, Threshold: num(3), Min: 10},
		"d-missed": {Kind: hostler.AlertMissed},
		"e-queue":  {Kind: hostler.AlertQueueAge, Threshold: num(60)},
		"f-other":  {Kind: hostler.AlertQueueAge, Threshold: num(60), Target: "bulk"},
	}
	eachAlerts(t, func(t *testing.T, a *alerts) {
		for name, in := range rules {
			in.Every = &at
			a.rule(name, in)
		}
		a.run(20, "backup", 10*time.Second, hostler.OutcomeSucceeded)
		a.want("the first day", a.round())
		a.h.Advance(24 * time.Hour)
		a.run(3, "ping", time.Second, hostler.OutcomeSucceeded)
		a.run(1, "ping", time.Second, hostler.OutcomeFailed)
		a.run(1, "backup", 20*time.Second, hostler.OutcomeSucceeded)
		a.want("three of four", a.round(), "alert.firing a-rate +ping")
		a.run(1, "backup", 40*time.Second, hostler.OutcomeSucceeded)
		a.tx(func(tx *store.Tx) error {
			tx.Emit(a.project, hostler.EventScheduleMissed, hostler.ObjectEvent{Object: "nightly"})
			return nil
		})
		a.want("slow and missed", a.round(), "alert.firing c-slow +backup", "alert.firing d-missed +nightly")
		a.enqueue(a.spec())
		a.want("a job waits", a.round())
		a.h.Advance(time.Minute)
		a.want("a minute", a.round(), "alert.firing e-queue +default")
		a.h.Advance(3 * time.Hour)
		a.want("later", a.round(), "alert.resolved a-rate -ping", "alert.resolved c-slow -backup", "alert.resolved d-missed -nightly")
	})
}

// TestAlertsPageThroughManyTargets: a rule of more targets than a step reads finds all that
// fire, in steps, and lists a bounded part of them in one notification.
func TestAlertsPageThroughManyTargets(t *testing.T) {
	eachAlerts(t, func(t *testing.T, a *alerts) {
		a.rule("failures", hostler.AlertRuleInput{
			Kind: hostler.AlertFailures, By: hostler.StatsByAsset, Window: hostler.Duration(29 * 24 * time.Hour),
		})
		const targets = 400 // of which a step reads about 160
		a.tx(func(tx *store.Tx) error {
			for i := range targets {
				for range 3 {
					_, err := tx.Exec(`INSERT INTO stats (project, kind, span, name, at, succeeded, failed, cancelled, last_at, started,
run_total, wait_total, run_times, wait_times, streak) VALUES (?, 'asset', 86400, ?, ?, 0, 3, 0, 0, 0, 0, 0, ?, ?, 3)
ON CONFLICT DO NOTHING`, a.project, fmt.Sprintf("host%03d", i), tx.Now().Truncate(24*time.Hour).UnixMicro(), []byte{}, []byte{})
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
		told := a.round()
		if len(told) != 1 || strings.Count(told[0], "+host") != 20 {
			t.Errorf("told %v", told)
		}
		a.tx(func(tx *store.Tx) error {
			firing, err := tx.FiringAlerts(a.project)
			if firing["failures"] != targets {
				t.Errorf("%d fire, want %d", firing["failures"], targets)
			}
			return err
		})
	})
}

// TestAlertStepsMayRunAgain: a transaction that is aborted and repeated stores the same.
func TestAlertStepsMayRunAgain(t *testing.T) {
	eachAlerts(t, func(t *testing.T, a *alerts) {
		a.rule("failures", hostler.AlertRuleInput{Kind: hostler.AlertFailures})
		var s *store.AlertStep
		a.tx(func(tx *store.Tx) (err error) {
			s, err = tx.NextAlertStep(0)
			return err
		})
		s.Firing["ping"] = 3
		aborted := errors.New("aborted")
		for _, want := range []error{aborted, nil} {
			err := a.store.InTx(t.Context(), func(tx *store.Tx) error {
				_, told, err := tx.StoreAlerts(s, func(float64) hostler.Text { return hostler.Text{} })
				if err != nil || told == nil || len(told.Firing) != 1 {
					t.Errorf("told %+v, %v", told, err)
				}
				return want
			})
			if !errors.Is(err, want) {
				t.Error(err)
			}
		}
	})
}
