package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

// fillDeliveries inserts n ended deliveries of a webhook quickly, and returns the first
// and the last id.
func (f *fixture) fillDeliveries(hook hostler.WebhookID, n int) (first, last hostler.DeliveryID) {
	f.t.Helper()
	f.tx(func(tx *store.Tx) error {
		raw, err := tx.NewID()
		if err != nil {
			return err
		}
		first, last = hostler.DeliveryID(raw-int64(n)), hostler.DeliveryID(raw-1)
		_, err = tx.Exec(`INSERT INTO delivery (id, webhook, project, pos, type, job, event, state, next_at, created_at, ended_at)
WITH RECURSIVE s(i) AS (SELECT CAST(? AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < ?)
SELECT i, ?, 1, 0, 'asset.created', 0, '{}', 'delivered', 0, ?, ? FROM s`,
			int64(first), int64(last), hook, f.Now().UnixMicro(), f.Now().UnixMicro())
		return err
	})
	return first, last
}

// TestListsOfDeliveriesAreBounded lists deliveries that few among many match: each page
// reads a bounded number of rows, and the pages together find all of them once.
func TestListsOfDeliveriesAreBounded(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		a, b := f.hook("a"), f.hook("b")
		want := f.queueEvents(b, "asset.deleted", "asset.created")[:1]
		f.Advance(time.Hour)
		f.fillDeliveries(a, 45_000)
		f.Advance(time.Hour)
		newest := f.queueEvents(a, "asset.deleted")
		want = append(newest, want...)

		for _, c := range []struct {
			q     store.DeliveryQuery
			want  []hostler.DeliveryID
			pages int // at least
		}{
			{store.DeliveryQuery{Type: "asset.deleted"}, want, 3},
			{store.DeliveryQuery{Type: "asset.deleted", Webhook: b}, want[1:], 1},
			{store.DeliveryQuery{State: hostler.DeliveryPending, Type: "asset.deleted"}, want, 1},
			{store.DeliveryQuery{State: hostler.DeliveryPending, Webhook: a}, newest, 1},
			{store.DeliveryQuery{State: hostler.DeliveryFailed}, nil, 1},
			{store.DeliveryQuery{Type: "asset.deleted", Since: f.Now().Add(-time.Minute)}, newest, 1},
		} {
			t.Run(fmt.Sprintf("%+v", c.q), func(t *testing.T) {
				c.q.Projects = []hostler.ProjectID{1}
				var got []hostler.DeliveryID
				pages := 0
				for before := hostler.DeliveryID(0); ; {
					var list []hostler.Delivery
					f.tx(func(tx *store.Tx) (err error) {
						list, before, err = tx.Deliveries(c.q, before, 10)
						return err
					})
					for _, d := range list {
						got = append(got, d.ID)
					}
					if pages++; before == 0 || pages > 100 {
						break
					}
				}
				if !slices.Equal(got, c.want) || pages < c.pages || pages > c.pages+2 {
					t.Errorf("%d pages with %v, want about %d with %v", pages, got, c.pages, c.want)
				}
			})
		}
	})
}

// TestPagesOfDeliveries reads pages whose rows come from several states.
func TestPagesOfDeliveries(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		hook := f.hook("a")
		ids := f.queueEvents(hook, "asset.created", "asset.created", "asset.created", "asset.created", "asset.created")
		for i, c := range f.claimDeliveries(hook, 3) {
			state := []hostler.DeliveryState{hostler.DeliveryDelivered, hostler.DeliveryFailed, hostler.DeliveryDelivered}[i]
			f.endTry(c, store.DeliveryOutcome{State: state})
		}
		slices.Reverse(ids)
		for _, q := range []store.DeliveryQuery{{}, {Webhook: hook}} {
			q.Projects = []hostler.ProjectID{0, 1}
			var got []hostler.DeliveryID
			for before, n := hostler.DeliveryID(0), 0; n < 10; n++ {
				var list []hostler.Delivery
				f.tx(func(tx *store.Tx) (err error) {
					list, before, err = tx.Deliveries(q, before, 2)
					return err
				})
				for _, d := range list {
					got = append(got, d.ID)
				}
				if before == 0 {
					break
				}
			}
			if !slices.Equal(got, ids) {
				t.Errorf("%+v: %v, want %v", q, got, ids)
			}
		}
	})
}

// TestSweepOfADeletedWebhook deletes a webhook with many deliveries: the call itself
// deletes none, each step a bounded number, and the webhook goes with the last one. A
// sweep that stops in between, as a server that is killed does, is taken up by the next.
func TestSweepOfADeletedWebhook(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		gone, kept := f.hook("a"), f.hook("b")
		f.fillDeliveries(gone, 2500)
		f.queueEvents(gone, "asset.created", "asset.created", "asset.created")
		flying := f.claimDeliveries(gone, 1)
		keep := f.queueEvents(kept, "asset.created")
		f.tx(func(tx *store.Tx) error { return tx.DeleteWebhook(gone) })
		count := func() (n int) {
			f.tx(func(tx *store.Tx) error {
				n = 0
				return tx.Each(`SELECT id FROM delivery WHERE webhook = `+fmt.Sprint(int64(gone)), nil, func(sqldb.Rows) error { n++; return nil })
			})
			return n
		}
		if n := count(); n != 2503 {
			t.Fatalf("%d deliveries are left after the call, want all 2,503", n)
		}
		if ids, _ := f.due(); !slices.Equal(ids, []hostler.WebhookID{kept}) {
			t.Errorf("%v are due, want only the webhook that is left", ids)
		}
		w := store.SweptWebhook{ID: gone, Sweep: 2}
		for range 3 { // and then the server is killed
			before := count()
			f.tx(func(tx *store.Tx) error {
				_, more, err := tx.SweepWebhook(w, store.SweepCursor{}, 500)
				if !more {
					t.Error("a full step reports that there is no more")
				}
				return err
			})
			if n := before - count(); n != 500 {
				t.Errorf("a step deleted %d, want 500", n)
			}
		}
		f.sweep(500)
		f.endTry(flying[0], store.DeliveryOutcome{State: hostler.DeliveryDelivered})
		f.sweep(500)
		var left []store.SweptWebhook
		f.tx(func(tx *store.Tx) (err error) {
			left, err = tx.SweptWebhooks(0, 10)
			return err
		})
		if n := count(); n != 0 || len(left) != 0 {
			t.Errorf("%d deliveries and %d webhooks are left", n, len(left))
		}
		f.delivery(keep[0])
	})
}

// TestRunWebhookWaitsForItsEvents keeps the webhook of an old run until the end of its
// job is published and made into a delivery, and that one is gone.
func TestRunWebhookWaitsForItsEvents(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		const run = hostler.RunID(77)
		var hook hostler.WebhookID
		f.makeAll()
		f.tx(func(tx *store.Tx) (err error) {
			hook, err = tx.InsertWebhook(store.WebhookRow{
				ProjectID: 1, Run: run, Webhook: hostler.Webhook{Name: "run", Enabled: true},
			}, func(hostler.WebhookID) ([]byte, error) { return []byte("x"), nil })
			return err
		})
		f.enqueue(job(func(s *hostler.JobSpec) { s.Run = run }))
		f.Advance(48 * time.Hour)
		w := f.register("*")
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeSucceeded))

		var mark store.EventMark
		drop := func() (made bool) {
			f.tx(func(tx *store.Tx) error {
				ids, err := tx.EndedRunWebhooks(f.Now().Add(-time.Hour), 0, 10)
				if err != nil {
					return err
				}
				if made, err = tx.MadeUpTo(&mark); err != nil || !made {
					return err
				}
				return tx.DeleteRunWebhooks(ids)
			})
			return made
		}
		exists := func() bool {
			var rows []store.WebhookRow
			f.tx(func(tx *store.Tx) (err error) {
				rows, err = tx.WebhooksByID([]hostler.WebhookID{hook})
				return err
			})
			return len(rows) == 1
		}
		f.tx(func(tx *store.Tx) (err error) { mark, err = tx.MarkEvents(); return err })
		if drop() || !exists() {
			t.Fatal("the webhook is gone before the end of its job is published")
		}
		f.published()
		if drop() || !exists() {
			t.Fatal("the webhook is gone before its delivery is made")
		}
		ids := f.queueEvents(hook, "job.succeeded")
		f.makeAll()
		if !drop() || !exists() {
			t.Fatal("the webhook is gone before its delivery has ended")
		}
		f.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM delivery WHERE id = ?`, ids[0])
			return err
		})
		if !drop() || exists() {
			t.Error("the webhook is left although all is done")
		}
	})
}
