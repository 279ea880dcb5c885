package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// hook creates a webhook of project 1.
func (f *fixture) hook(name string) hostler.WebhookID {
	f.t.Helper()
	var id hostler.WebhookID
	f.tx(func(tx *store.Tx) (err error) {
		id, err = tx.InsertWebhook(store.WebhookRow{ProjectID: 1, Webhook: hostler.Webhook{Name: name, Enabled: true}},
			func(id hostler.WebhookID) ([]byte, error) { return []byte("sealed for " + id.String()), nil })
		return err
	})
	return id
}

// queueEvents queues deliveries of events of some types to a webhook.
func (f *fixture) queueEvents(id hostler.WebhookID, types ...hostler.EventType) []hostler.DeliveryID {
	f.t.Helper()
	list := make([]store.NewDelivery, len(types))
	for i, t := range types {
		list[i] = store.NewDelivery{Webhook: id, Project: 1, Event: &store.Event{Pos: int64(i + 1), Type: t, Project: 1}}
	}
	var ids []hostler.DeliveryID
	f.tx(func(tx *store.Tx) (err error) {
		ids, err = tx.QueueDeliveries(list)
		return err
	})
	return ids
}

// due calls DueWebhooks and returns the next time as a duration from now.
func (f *fixture) due() (ids []hostler.WebhookID, next time.Duration) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		list, at, err := tx.DueWebhooks()
		ids, next = list, 0
		if !at.IsZero() {
			next = at.Sub(tx.Now())
		}
		return err
	})
	return ids, next
}

func (f *fixture) claimDeliveries(id hostler.WebhookID, limit int) []store.ClaimedDelivery {
	f.t.Helper()
	var got []store.ClaimedDelivery
	f.tx(func(tx *store.Tx) error {
		rows, err := tx.WebhooksByID([]hostler.WebhookID{id})
		if err != nil {
			return err
		}
		got, err = tx.ClaimDeliveries(rows[0], limit, time.Minute)
		return err
	})
	return got
}

func (f *fixture) endTry(c store.ClaimedDelivery, o store.DeliveryOutcome) {
	f.t.Helper()
	o.Attempt.N = c.Tries + 1
	f.tx(func(tx *store.Tx) error { return tx.EndTry(c, o) })
}

// sweep deals with the deliveries of swept webhooks, in transactions of so many.
func (f *fixture) sweep(rows int) {
	f.t.Helper()
	var hooks []store.SweptWebhook
	f.tx(func(tx *store.Tx) (err error) {
		hooks, err = tx.SweptWebhooks(0, 100)
		return err
	})
	for _, w := range hooks {
		var at, next store.SweepCursor
		for more := true; more; at = next {
			f.tx(func(tx *store.Tx) (err error) {
				next, more, err = tx.SweepWebhook(w, at, rows)
				return err
			})
		}
	}
}

// dropRunWebhooks deletes the webhooks of runs that are older than the retention and
// that nothing is left of.
func (f *fixture) dropRunWebhooks(retention time.Duration) {
	f.t.Helper()
	f.published()
	f.makeAll()
	f.tx(func(tx *store.Tx) error {
		ids, err := tx.EndedRunWebhooks(f.Now().Add(-retention), 0, 100)
		if err != nil {
			return err
		}
		return tx.DeleteRunWebhooks(ids)
	})
}

// makeAll moves the cursor behind which deliveries are made to the newest event.
func (f *fixture) makeAll() {
	f.t.Helper()
	for w := (*store.Window)(nil); ; {
		f.tx(func(tx *store.Tx) (err error) {
			if w, err = tx.OpenWindow(100); err != nil || w == nil {
				return err
			}
			return tx.CloseWindow(w)
		})
		if w == nil {
			return
		}
	}
}

func (f *fixture) delivery(id hostler.DeliveryID) hostler.Delivery {
	f.t.Helper()
	var d *hostler.Delivery
	f.tx(func(tx *store.Tx) (err error) {
		d, err = tx.Delivery([]hostler.ProjectID{1}, id)
		return err
	})
	if d == nil {
		f.t.Fatalf("delivery %v is gone", id)
	}
	return *d
}

// TestDueWebhooks checks that DueWebhooks returns the webhooks with due deliveries,
// regardless of how many others wait.
func TestDueWebhooks(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		if ids, next := f.due(); len(ids) != 0 || next != 0 {
			t.Errorf("of nothing, %v are due, the next in %v", ids, next)
		}
		a, b, c, d := f.hook("a"), f.hook("b"), f.hook("c"), f.hook("d")
		f.queueEvents(a, "asset.created", "asset.created")
		f.queueEvents(b, "asset.created")
		f.queueEvents(c, "asset.created")
		f.queueEvents(d, "asset.created", hostler.EventWebhookPing)
		later := f.claimDeliveries(b, 1)[0]
		f.endTry(later, store.DeliveryOutcome{State: hostler.DeliveryPending, Next: f.Now().Add(time.Hour)})
		f.tx(func(tx *store.Tx) error {
			for _, id := range []hostler.WebhookID{c, d} {
				if err := tx.DisableWebhook(id, hostler.Text{EN: "gone", ZH: "已不存在"}); err != nil {
					return err
				}
			}
			return nil
		})

		ids, next := f.due()
		if diff := cmp.Diff([]hostler.WebhookID{a, d}, ids); diff != "" || next != time.Hour {
			t.Errorf("due (-want +got):\n%s; the next in %v, want 1h", diff, next)
		}
		if got := f.claimDeliveries(d, 10); len(got) != 1 || got[0].Event.Type != hostler.EventWebhookPing {
			t.Errorf("of a disabled webhook %+v is claimed, want the test only", got)
		}
		f.Advance(time.Hour)
		if ids, _ := f.due(); !cmp.Equal(ids, []hostler.WebhookID{a, b, d}) {
			t.Errorf("an hour later %v are due", ids)
		}
	})
}

// TestTestsComeFirst checks that a test delivery is sent before the other deliveries of its
// webhook, because a user waits for it.
func TestTestsComeFirst(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		f.queueEvents(hook, "asset.created", "asset.created")
		f.Advance(time.Second)
		ping := f.queueEvents(hook, hostler.EventWebhookPing)[0]
		if d := f.delivery(ping); d.NextAt == nil || !d.NextAt.Equal(d.Created) {
			t.Errorf("the test made at %v is due at %v", d.Created, d.NextAt)
		}
		if got := f.claimDeliveries(hook, 1); len(got) != 1 || got[0].ID != ping {
			t.Errorf("first comes %+v, want the test", got)
		}
	})
}

// TestClaimDeliveries checks that a claimed delivery is not claimed again until the claim
// expires. If it is resent in the meantime, it stays due regardless of the outcome.
func TestClaimDeliveries(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		ids := f.queueEvents(hook, "asset.created", "asset.updated", "asset.deleted")
		first := f.claimDeliveries(hook, 2)
		if len(first) != 2 || first[0].ID != ids[0] || first[1].ID != ids[1] {
			t.Fatalf("claimed %+v, want the two oldest of %v", first, ids)
		}
		if rest := f.claimDeliveries(hook, 10); len(rest) != 1 || rest[0].ID != ids[2] {
			t.Errorf("claimed %+v, want only %v", rest, ids[2])
		}

		f.endTry(first[0], store.DeliveryOutcome{State: hostler.DeliveryDelivered, Body: "{}"})
		if d := f.delivery(ids[0]); d.State != hostler.DeliveryDelivered || d.Tries != 1 ||
			d.Body != "{}" || d.Ended == nil || d.Last == nil {
			t.Errorf("delivered: %+v", d)
		}
		f.tx(func(tx *store.Tx) error { return tx.ResendDelivery(ids[1]) })
		f.endTry(first[1], store.DeliveryOutcome{State: hostler.DeliveryFailed, Body: "{}"})
		if d := f.delivery(ids[1]); d.State != hostler.DeliveryPending || d.Tries != 1 || !d.NextAt.Equal(f.Now()) {
			t.Errorf("sent again while it was tried: %+v", d)
		}
		f.Advance(time.Minute)
		if got := f.claimDeliveries(hook, 10); len(got) != 2 {
			t.Errorf("%d are claimed after the claim has ended, want 2", len(got))
		}
	})
}

// TestRateOfClaims checks that a rate applies across claims and servers.
func TestRateOfClaims(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		f.queueEvents(hook, "asset.created", "asset.updated", "asset.deleted")
		f.tx(func(tx *store.Tx) error {
			w, err := tx.LockWebhook([]hostler.ProjectID{1}, hook, "")
			if err != nil {
				return err
			}
			w.Rate = 20
			return tx.UpdateWebhook(*w)
		})
		for i, want := range []int{1, 0, 0, 1, 0, 0, 1} {
			if got := f.claimDeliveries(hook, 4); len(got) != want {
				t.Errorf("after %d s %d are claimed, want %d", i, len(got), want)
			}
			f.Advance(time.Second)
		}
	})
}

// TestWebhookRows checks that lookups ignore webhooks of other projects and that names are
// unique.
func TestWebhookRows(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		a, b := f.hook("a"), f.hook("b")
		ids := f.queueEvents(a, "asset.created")
		f.tx(func(tx *store.Tx) error {
			rows, err := tx.Webhooks([]hostler.ProjectID{1}, "", 10)
			if err != nil {
				return err
			}
			if len(rows) != 2 || rows[0].ID != a || rows[1].ID != b || rows[0].Counts != (hostler.WebhookCounts{Pending: 1}) {
				t.Errorf("listed: %+v", rows)
			}
			for _, p := range []hostler.ProjectID{0, 2} {
				w, err := tx.Webhook([]hostler.ProjectID{p}, a, "")
				if err != nil || w != nil {
					t.Errorf("project %d sees %+v, %v", p, w, err)
				}
				d, err := tx.Delivery([]hostler.ProjectID{p}, ids[0])
				if err != nil || d != nil {
					t.Errorf("project %d sees the delivery %+v, %v", p, d, err)
				}
			}
			rows[1].Name = "a"
			if err := tx.UpdateWebhook(rows[1]); hostler.CodeOf(err) != hostler.CodeConflict {
				t.Errorf("a taken name: %v", err)
			}
			if err := tx.DeleteWebhook(a); err != nil {
				return err
			}
			d, err := tx.Delivery([]hostler.ProjectID{1}, ids[0])
			if d != nil {
				t.Errorf("its webhook is gone, and %+v is left", d)
			}
			return err
		})
	})
}

// TestDeliveriesByState checks that a list by state returns the deliveries in that state.
func TestDeliveriesByState(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		ids := f.queueEvents(hook, "asset.created", "asset.created", "asset.created")
		got := f.claimDeliveries(hook, 2)
		f.endTry(got[0], store.DeliveryOutcome{State: hostler.DeliveryDelivered})
		f.endTry(got[1], store.DeliveryOutcome{State: hostler.DeliveryFailed})
		for i, state := range []hostler.DeliveryState{
			hostler.DeliveryDelivered, hostler.DeliveryFailed, hostler.DeliveryPending,
		} {
			f.tx(func(tx *store.Tx) error {
				list, _, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{0, 1}, State: state}, 0, 10)
				if err == nil && (len(list) != 1 || list[0].ID != ids[i]) {
					t.Errorf("%s: %+v, want %v", state, list, ids[i])
				}
				return err
			})
		}
	})
}

// TestDropDeliveries checks that retention deletes completed deliveries, but not those
// waiting for their next try, and then the webhooks of runs.
func TestDropDeliveries(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		ids := f.queueEvents(hook, "asset.created", "asset.updated")
		f.endTry(f.claimDeliveries(hook, 1)[0], store.DeliveryOutcome{State: hostler.DeliveryDelivered})
		f.endTry(f.claimDeliveries(hook, 1)[0],
			store.DeliveryOutcome{State: hostler.DeliveryPending, Next: f.Now().Add(90 * time.Minute)})
		var bound hostler.WebhookID
		f.tx(func(tx *store.Tx) (err error) {
			bound, err = tx.InsertWebhook(store.WebhookRow{ProjectID: 1, Run: 7, Webhook: hostler.Webhook{Name: "run"}},
				func(hostler.WebhookID) ([]byte, error) { return []byte("x"), nil })
			return err
		})
		left := func() (n int, run bool) {
			f.tx(func(tx *store.Tx) error {
				list, _, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{1}}, 0, 10)
				n = len(list)
				if err != nil {
					return err
				}
				rows, err := tx.WebhooksByID([]hostler.WebhookID{bound})
				run = len(rows) == 1
				return err
			})
			return n, run
		}
		drop := func(limit int) (more bool) {
			f.tx(func(tx *store.Tx) (err error) {
				more, err = tx.DeleteDeliveries(f.Now().Add(-time.Hour), limit)
				return err
			})
			f.dropRunWebhooks(time.Hour)
			return more
		}
		drop(10)
		if n, run := left(); n != 2 || !run {
			t.Errorf("within the retention %d are left, the run's webhook: %v", n, run)
		}
		f.Advance(2 * time.Hour)
		if !drop(1) {
			t.Error("a full batch reports that there is no more")
		}
		drop(10)
		if n, run := left(); n != 1 || run {
			t.Errorf("after the retention %d are left, the run's webhook: %v", n, run)
		}
		if d := f.delivery(ids[1]); d.State != hostler.DeliveryPending {
			t.Errorf("left is %+v", d)
		}
	})
}

// TestDeliveriesOfDisabledWebhooks checks that deliveries of a disabled webhook, or of a
// receiver that is down, wait until retention deletes them. Those of a run's webhook,
// which cannot be enabled, fail at the next sweep.
func TestDeliveriesOfDisabledWebhooks(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		named, bound := f.hook("a"), hostler.WebhookID(0)
		f.tx(func(tx *store.Tx) (err error) {
			bound, err = tx.InsertWebhook(store.WebhookRow{ProjectID: 1, Run: 7, Webhook: hostler.Webhook{Name: "run", Enabled: true}},
				func(hostler.WebhookID) ([]byte, error) { return []byte("x"), nil })
			return err
		})
		down := f.hook("down")
		f.queueEvents(down, "job.failed")
		waits := f.queueEvents(named, "job.failed")[0]
		runs := f.queueEvents(bound, "job.failed", "job.failed", "job.failed")
		flying := f.claimDeliveries(bound, 2)
		f.tx(func(tx *store.Tx) error {
			for _, id := range []hostler.WebhookID{named, bound} {
				if err := tx.DisableWebhook(id, hostler.Text{EN: "gone", ZH: "已不存在"}); err != nil {
					return err
				}
			}
			return nil
		})
		f.sweep(1)
		f.endTry(flying[0], store.DeliveryOutcome{State: hostler.DeliveryDelivered})
		f.endTry(flying[1], store.DeliveryOutcome{State: hostler.DeliveryPending, Next: f.Now().Add(time.Minute)})
		states := map[hostler.DeliveryID]hostler.DeliveryState{
			waits: hostler.DeliveryPending, runs[0]: hostler.DeliveryDelivered,
			runs[1]: hostler.DeliveryPending, runs[2]: hostler.DeliveryFailed,
		}
		for id, want := range states {
			if d := f.delivery(id); d.State != want || (d.Ended == nil) != (want == hostler.DeliveryPending) {
				t.Errorf("%v is %s, ended at %v; want %s", id, d.State, d.Ended, want)
			}
		}
		f.Advance(2 * time.Hour)
		f.queueEvents(named, "job.failed", hostler.EventWebhookPing)
		f.tx(func(tx *store.Tx) error {
			for more := true; more; {
				var err error
				if more, err = tx.DeleteDeliveries(f.Now().Add(-time.Hour), 1); err != nil {
					return err
				}
			}
			return nil
		})
		f.dropRunWebhooks(time.Hour)
		f.tx(func(tx *store.Tx) error {
			left, _, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{1}}, 0, 10)
			if err != nil || len(left) != 2 || left[1].ID <= waits {
				t.Errorf("after the retention %+v are left, %v; want the new ones only", left, err)
			}
			hooks, err := tx.WebhooksByID([]hostler.WebhookID{named, bound})
			if len(hooks) != 1 || hooks[0].ID != named {
				t.Errorf("webhooks left: %+v", hooks)
			}
			return err
		})
	})
}
