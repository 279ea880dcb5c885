package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// makerEnv makes deliveries by hand.
type makerEnv struct {
	t *testing.T
	h *storetest.Harness
}

func eachMaker(t *testing.T, fn func(t *testing.T, e *makerEnv)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, h *storetest.Harness) { fn(t, &makerEnv{t, h}) })
}

func (e *makerEnv) tx(fn func(tx *store.Tx) error) {
	e.t.Helper()
	if err := e.h.Store.InTx(e.t.Context(), fn); err != nil {
		e.t.Fatal(err)
	}
}

func (e *makerEnv) maker(rows int) *maker {
	return &maker{
		Notifier: &Notifier{store: e.h.Store, work: e.h.Store, log: slog.New(slog.DiscardHandler)}, rows: rows,
	}
}

func (e *makerEnv) hook(name string) (id hostler.WebhookID) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) (err error) {
		id, err = tx.InsertWebhook(store.WebhookRow{ProjectID: 1, Webhook: hostler.Webhook{
			Name: name, Enabled: true, Events: []string{"asset.*"},
		}}, func(hostler.WebhookID) ([]byte, error) { return []byte("sealed"), nil })
		return err
	})
	return id
}

// emit commits n events, and publishes them.
func (e *makerEnv) emit(n int) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		for range n {
			tx.Emit(1, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "web1"})
		}
		return nil
	})
	e.publish()
}

func (e *makerEnv) publish() {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error { _, _, err := tx.Publish(1000); return err })
}

// run makes all deliveries, and returns in how many transactions.
func (e *makerEnv) run(m *maker) (n int) {
	e.t.Helper()
	for {
		more, err := m.makeOnce(e.t.Context())
		if err != nil {
			e.t.Fatal(err)
		}
		if !more {
			return n
		}
		n++
	}
}

// made returns the positions of the deliveries of a webhook, in the order of their ids.
func (e *makerEnv) made(id hostler.WebhookID) (out []int64) {
	e.t.Helper()
	e.tx(func(tx *store.Tx) error {
		list, _, err := tx.Deliveries(store.DeliveryQuery{Projects: []hostler.ProjectID{1}, Webhook: id}, 0, 10_000)
		out = nil
		for _, d := range list {
			out = append(out, d.Pos)
		}
		slices.Reverse(out)
		return err
	})
	return out
}

// wantMade checks that a webhook has a delivery of each event between two positions.
func (e *makerEnv) wantMade(what string, id hostler.WebhookID, first, last int64) {
	e.t.Helper()
	var want []int64
	for pos := first; pos <= last; pos++ {
		want = append(want, pos)
	}
	if got := e.made(id); !slices.Equal(got, want) {
		e.t.Errorf("%s: deliveries of %v, want %d to %d", what, got, first, last)
	}
}

// TestMakesFewAtATime makes the deliveries of a fan-out: no transaction makes more than it
// may, and each webhook gets each event once, in order, wherever transactions end and
// however their size changes.
func TestMakesFewAtATime(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		hooks := []hostler.WebhookID{e.hook("a"), e.hook("b"), e.hook("c")}
		const events = 25
		for range 5 {
			e.emit(events / 5)
		}
		m := e.maker(7)
		for total, rows := 0, 7; total < events*len(hooks); rows = rows%9 + 1 {
			m.rows = rows
			if _, err := m.makeOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := total
			total = 0
			for _, id := range hooks {
				total += len(e.made(id))
			}
			if total-before > rows || total == before {
				t.Fatalf("one transaction made %d deliveries, at most %d were allowed", total-before, rows)
			}
		}
		for i, id := range hooks {
			e.wantMade(fmt.Sprint("webhook ", i), id, 1, events)
		}
		if n := e.run(m); n > 1 {
			t.Errorf("%d more transactions, want the one that closes the window at most", n)
		}
	})
}

// TestMakesFewBytesAtATime: large events for many webhooks are no large transaction.
func TestMakesFewBytesAtATime(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		hooks := []hostler.WebhookID{e.hook("a"), e.hook("b"), e.hook("c")}
		name := strings.Repeat(`<">`, 20_000) // 240 KB in JSON, of 60 KB
		e.tx(func(tx *store.Tx) error {
			for range 6 {
				tx.Emit(1, hostler.EventAssetCreated, hostler.ObjectEvent{Object: name})
			}
			return nil
		})
		e.publish()
		m := e.maker(makeRows)
		for more, total := true, 0; more; {
			var err error
			if more, err = m.makeOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			before := total
			total = 0
			for _, id := range hooks {
				total += len(e.made(id))
			}
			if total-before > 4 {
				t.Fatalf("one transaction made %d deliveries of 240 KB, more than 1 MiB", total-before)
			}
		}
		for _, id := range hooks {
			e.wantMade("a webhook", id, 1, 6)
		}
	})
}

// TestMakersOfTwoServers runs makers concurrently, some of whose transactions fail after
// they have made deliveries: none is lost or made twice.
func TestMakersOfTwoServers(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		a, b := e.hook("a"), e.hook("b")
		const events = 300
		for range 6 {
			e.emit(events / 6)
		}
		broken := errors.New("the server stops before the commit")
		var servers sync.WaitGroup
		for range 3 {
			m := e.maker(20)
			servers.Go(func() {
				for i := 0; ; i++ {
					if i%3 == 1 {
						_ = e.h.Store.InTx(t.Context(), func(tx *store.Tx) error {
							if w, err := tx.OpenWindow(m.rows); err != nil || w == nil {
								return err
							} else if _, err := m.makeWindow(tx, w); err != nil {
								return err
							}
							return broken
						})
					}
					var left int64
					_, err := m.makeOnce(t.Context())
					if err == nil {
						err = e.h.Store.View(t.Context(), func(tx *store.Tx) (err error) {
							left, _, err = tx.UnmadeEvents()
							return err
						})
					}
					if err != nil || left == 0 {
						if err != nil {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		servers.Wait()
		e.wantMade("a", a, 1, events)
		e.wantMade("b", b, 1, events)
	})
}

// TestWebhookChangesBeforeItsDeliveriesAreMade changes webhooks between the publication of
// events and their deliveries.
func TestWebhookChangesBeforeItsDeliveriesAreMade(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		kept, deleted, disabled, again, narrowed := e.hook("a"), e.hook("b"), e.hook("c"), e.hook("d"), e.hook("e")
		m := e.maker(makeRows)
		e.run(m)
		e.emit(2)
		change := func(id hostler.WebhookID, fn func(w *store.WebhookRow)) {
			e.tx(func(tx *store.Tx) error {
				w, err := tx.LockWebhook([]hostler.ProjectID{1}, id, "")
				if err != nil {
					return err
				}
				fn(w)
				return tx.UpdateWebhook(*w)
			})
		}
		created := e.hook("new")
		e.tx(func(tx *store.Tx) error { return tx.DeleteWebhook(deleted) })
		change(disabled, func(w *store.WebhookRow) { w.Enabled = false })
		change(again, func(w *store.WebhookRow) { w.Enabled = false })
		change(again, func(w *store.WebhookRow) { w.Enabled = true })
		change(narrowed, func(w *store.WebhookRow) { w.Events = []string{"asset.deleted"} })
		e.run(m)
		e.emit(1)
		e.run(m)
		e.wantMade("kept", kept, 1, 3)
		e.wantMade("created", created, 3, 3)
		e.wantMade("deleted", deleted, 1, 0)
		e.wantMade("disabled", disabled, 1, 0)
		e.wantMade("disabled and enabled", again, 3, 3)
		e.wantMade("narrowed", narrowed, 1, 0)
	})
}

// TestSetsAsideWhatCannotBeRead damages a row of events: it is set aside, the events
// before and behind it are delivered, and a retry after a repair makes the others, once.
func TestSetsAsideWhatCannotBeRead(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		hook := e.hook("a")
		e.emit(3)
		e.tx(func(tx *store.Tx) error {
			for range 4 {
				tx.Emit(1, hostler.EventAssetCreated, hostler.ObjectEvent{Object: "web1"})
			}
			return nil
		})
		e.publish()
		e.emit(2)
		count := func(table string, by int) { // a row that does not hold so many events is damaged
			e.tx(func(tx *store.Tx) error {
				_, err := tx.Exec(`UPDATE `+table+` SET n = n + ? WHERE last = 7`, by)
				return err
			})
		}
		count("event", 1)
		m := e.maker(2)
		e.run(m)
		if got := e.made(hook); !slices.Equal(got, []int64{1, 2, 3, 8, 9}) {
			t.Errorf("deliveries of %v, want all but 4 to 7", got)
		}
		aside := func() (list []store.EventsAside) {
			e.tx(func(tx *store.Tx) (err error) {
				list, err = tx.EventsAside(0, 10)
				return err
			})
			return list
		}
		list := aside()
		if len(list) != 1 || list[0].First != 4 || list[0].Last != 7 || list[0].Error == "" || list[0].Webhook != 0 {
			t.Fatalf("set aside: %+v, want 4 to 7", list)
		}
		retry := func() {
			e.tx(func(tx *store.Tx) error {
				found, err := tx.RetryAside(7)
				if !found {
					t.Error("nothing to retry")
				}
				return err
			})
			e.run(m)
		}
		retry()
		if list := aside(); len(list) != 1 || list[0].Retry {
			t.Errorf("after a retry that failed: %+v", list)
		}
		count("event_aside", -1)
		retry()
		if list := aside(); len(list) != 0 {
			t.Errorf("after a retry %+v are set aside", list)
		}
		if got := e.made(hook); !slices.Equal(got, []int64{1, 2, 3, 8, 9, 4, 5, 6, 7}) {
			t.Errorf("deliveries of %v, want 4 to 7 behind the others", got)
		}
	})
}

// TestWebhookThatCannotBeRead: it counts as disabled, and the others go on.
func TestWebhookThatCannotBeRead(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		bad, good := e.hook("bad"), e.hook("good")
		e.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE webhook SET spec = '{"timeout": {}}' WHERE id = ?`, bad)
			return err
		})
		e.emit(3)
		m := e.maker(1)
		e.run(m)
		e.wantMade("the readable one", good, 1, 3)
		e.tx(func(tx *store.Tx) error {
			w, err := tx.Webhook([]hostler.ProjectID{1}, bad, "")
			if err == nil && (w == nil || w.Enabled || w.Reason == nil || w.Name != "bad") {
				t.Errorf("the other one is shown as %+v", w)
			}
			return err
		})
	})
}

// TestSetsOneDeliveryAside fails the delivery of one event to one webhook: the others are
// made.
func TestSetsOneDeliveryAside(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		a, b := e.hook("a"), e.hook("b")
		e.emit(4)
		m := e.maker(3)
		e.tx(func(tx *store.Tx) error { // 1 to 3 of a are made
			w, err := tx.OpenWindow(4)
			if err != nil {
				return err
			}
			m.rows = 3
			_, err = m.makeWindow(tx, w)
			return err
		})
		why := errors.New("this one cannot be made")
		// The third one failed, and another server has made it: the fourth is not set aside
		// in its place.
		for _, pos := range []int64{3, 4} {
			failed := store.NewDelivery{Webhook: a, Event: &store.Event{Pos: pos}}
			if err := m.setAside(t.Context(), failed, why); err != nil {
				t.Fatal(err)
			}
			e.tx(func(tx *store.Tx) error {
				if n, err := tx.CountAside(10); err != nil || n != int(pos-3) {
					t.Errorf("after %d: %d deliveries set aside, %v", pos, n, err)
				}
				return nil
			})
		}
		e.run(m)
		e.wantMade("a", a, 1, 3)
		e.wantMade("b", b, 1, 4)
		e.tx(func(tx *store.Tx) error { _, err := tx.RetryAside(4); return err })
		e.run(m)
		e.wantMade("a after the retry", a, 1, 4)
		e.wantMade("b after the retry", b, 1, 4)
	})
}

// TestHalvesAfterATimeOut makes one delivery after transactions that ran out of time, and
// sets nothing aside for that: the database was slow.
func TestHalvesAfterATimeOut(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		hook := e.hook("a")
		e.emit(3)
		m := e.maker(8)
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for _, want := range []int{4, 2, 1, 1, 1} {
			if _, err := m.makeOnce(late); err == nil || m.rows != want {
				t.Errorf("err %v, then %d rows, want %d", err, m.rows, want)
			}
		}
		e.run(m)
		e.wantMade("the webhook", hook, 1, 3)
	})
}

// TestSkipsWithoutWebhooks lets the cursor follow the events while there is no webhook,
// and only then.
func TestSkipsWithoutWebhooks(t *testing.T) {
	eachMaker(t, func(t *testing.T, e *makerEnv) {
		m := e.maker(makeRows)
		e.run(m) // makes the row of the cursor
		e.emit(3)
		if err := m.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		left := func() (n int64) {
			e.tx(func(tx *store.Tx) (err error) {
				n, _, err = tx.UnmadeEvents()
				return err
			})
			return n
		}
		if n := left(); n != 0 {
			t.Errorf("%d events are left, want none", n)
		}
		hook := e.hook("a")
		e.emit(2)
		e.tx(func(tx *store.Tx) error {
			done, err := tx.SkipEvents()
			if done {
				t.Error("events of a webhook were skipped")
			}
			return err
		})
		if err := m.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.wantMade("the webhook", hook, 4, 5)
	})
}
