package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/store"
)

// published publishes the outbox and returns all events.
func (f *fixture) published() []store.Event {
	f.t.Helper()
	for full := true; full; {
		f.tx(func(tx *store.Tx) (err error) {
			_, full, err = tx.Publish(7)
			return err
		})
	}
	return f.eventsAfter(0)
}

func (f *fixture) eventsAfter(pos int64) []store.Event {
	f.t.Helper()
	var all []store.Event
	for {
		var p store.EventPage
		err := f.Store.View(f.t.Context(), func(tx *store.Tx) (err error) {
			p, err = tx.EventsAfter(pos, 3, 100, nil)
			return err
		})
		if err != nil {
			f.t.Fatal(err)
		}
		if p.Last == pos {
			return all
		}
		all = append(all, p.Events...)
		pos = p.Last
	}
}

// stories returns the events of each job, in order.
func stories(events []store.Event) map[hostler.JobID][]string {
	out := map[hostler.JobID][]string{}
	for _, e := range events {
		if e.OfJob() {
			out[e.Job.Job] = append(out[e.Job.Job], fmt.Sprintf("%s %s %d", e.Type, e.Job.Cause, e.Job.Attempt))
		}
	}
	return out
}

// TestEventsOfJobs checks the events of every path through the state machine.
func TestEventsOfJobs(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		w := f.register("*")
		want := map[hostler.JobID][]string{}
		add := func(id hostler.JobID, lines ...string) { want[id] = lines }

		plain := f.enqueue(job(func(s *hostler.JobSpec) { s.AssetName, s.CreatedBy = "web1", "olga" }))[0]
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeSucceeded))
		add(plain, "job.queued  0", "job.started lease 1", "job.succeeded finish 1")

		retried := f.enqueue(job(func(s *hostler.JobSpec) { s.MaxAttempts = 2 }))[0]
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeFailed))
		f.Advance(time.Hour)
		f.tx(func(tx *store.Tx) error { _, _, err := tx.DueJobs(10); return err })
		f.tx(func(tx *store.Tx) error { _, _, err := tx.Heartbeat(hostler.Heartbeat{Worker: w}); return err })
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeFailed))
		add(retried, "job.queued  0", "job.started lease 1", "job.scheduled retry 1",
			"job.queued due 0", "job.started lease 2", "job.failed finish 2")

		back := f.enqueue(job())[0]
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeHandBack))
		f.tx(func(tx *store.Tx) error { _, err := tx.CancelJob(back, "olga"); return err })
		add(back, "job.queued  0", "job.started lease 1", "job.queued handback 1", "job.cancelled cancel 0")

		asked := f.enqueue(job(func(s *hostler.JobSpec) { s.OnLost = hostler.OnLostAsk }))[0]
		must(t, f.finish(w, f.claim(w, 1)[0], hostler.OutcomeUnknown))
		f.tx(func(tx *store.Tx) error { return tx.ResolveJob(asked, hostler.StateFailed, "olga", "looked") })
		add(asked, "job.queued  0", "job.started lease 1", "job.unknown lost 1", "job.failed resolve 1")

		late := f.enqueue(job(func(s *hostler.JobSpec) {
			s.RunAt, s.ExpiresAt = f.Now().Add(time.Second), f.Now().Add(time.Minute)
		}))[0]
		f.Advance(2 * time.Minute)
		f.tx(func(tx *store.Tx) error { _, err := tx.ExpireJobs(10); return err })
		add(late, "job.scheduled  0", "job.expired expire 0")

		events := f.published()
		if diff := cmp.Diff(want, stories(events)); diff != "" {
			t.Errorf("stories (-want +got):\n%s", diff)
		}
		for i, e := range events {
			if e.Pos != int64(i)+1 {
				t.Fatalf("event %d has the position %d", i+1, e.Pos)
			}
			if e.OfJob() && e.Job.Job == plain &&
				(e.Job.AssetName != "web1" || e.Job.CreatedBy != "olga" || e.Job.Action == "" || e.Job.Queue == "") {
				t.Errorf("it does not describe its job: %+v", e.Job)
			}
		}
		if again := f.published(); len(again) != len(events) {
			t.Errorf("publishing again made %d events of %d", len(again), len(events))
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestFailedTransactionEmitsNoEvents checks that a transaction that fails emits no events.
func TestFailedTransactionEmitsNoEvents(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		before := len(f.published())
		no := errors.New("no")
		err := f.Store.InTx(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Enqueue([]hostler.JobSpec{job()}); err != nil {
				return err
			}
			return no
		})
		if !errors.Is(err, no) {
			t.Fatal(err)
		}
		if got := len(f.published()); got != before {
			t.Errorf("%d events, want %d", got, before)
		}
	})
}

// TestEventOrderUnderConcurrency follows the events with many concurrent writers and
// several publishers, including transactions that take a number early and commit late.
// The reader must receive each event once, in the order of positions, and the events of
// each writer in their order.
func TestEventOrderUnderConcurrency(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		const writers, each = 8, 40
		ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
		defer stop()
		start := len(f.published())
		var publishers sync.WaitGroup
		for range 2 {
			publishers.Go(func() {
				for ctx.Err() == nil {
					if err := f.Store.InTx(context.WithoutCancel(ctx), func(tx *store.Tx) error {
						_, _, err := tx.Publish(3)
						return err
					}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		var seen []store.Event
		read := make(chan struct{})
		go func() {
			defer close(read)
			pos := int64(start)
			for len(seen) < writers*each && ctx.Err() == nil {
				var p store.EventPage
				if err := f.Store.View(context.WithoutCancel(ctx), func(tx *store.Tx) (err error) {
					p, err = tx.EventsAfter(pos, 100, 1000, nil)
					return err
				}); err != nil {
					t.Error(err)
					return
				}
				pos = p.Last
				seen = append(seen, p.Events...)
			}
		}()
		var writing sync.WaitGroup
		for n := range writers {
			writing.Go(func() {
				for i := range each {
					err := f.Store.InTx(context.WithoutCancel(ctx), func(tx *store.Tx) error {
						tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: fmt.Sprint(i), By: fmt.Sprint(n)})
						if f.Kind == "postgres" && rand.N(4) == 0 { // commits late
							return tx.Each(`SELECT 1 FROM (SELECT pg_sleep(0.01)) s`, nil, func(sqldb.Rows) error { return nil })
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		writing.Wait()
		select {
		case <-read:
		case <-time.After(20 * time.Second):
			t.Errorf("the reader saw %d events of %d", len(seen), writers*each)
		}
		stop()
		publishers.Wait()
		<-read
		next := map[string]int{}
		for i, e := range seen {
			if want := int64(start + i + 1); e.Pos != want {
				t.Fatalf("event %d has position %d, want %d", i, e.Pos, want)
			}
			if want := fmt.Sprint(next[e.Object.By]); e.Object.Object != want {
				t.Fatalf("writer %s: %s came when %s was next", e.Object.By, e.Object.Object, want)
			}
			next[e.Object.By]++
		}
	})
}

// TestEventsOfManyJobs checks that no event of a large fan-out, which spans many rows, is
// lost.
func TestEventsOfManyJobs(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		const n = 2345
		specs := make([]hostler.JobSpec, n)
		for i := range specs {
			specs[i] = job(func(s *hostler.JobSpec) { s.AssetName = fmt.Sprintf("host-%d", i) })
		}
		f.enqueue(specs...)
		var names []string
		for _, e := range f.published() {
			if e.OfJob() {
				names = append(names, e.Job.AssetName)
			}
		}
		if len(names) != n {
			t.Fatalf("%d events, want %d", len(names), n)
		}
		for i, name := range names {
			if name != specs[i].AssetName {
				t.Fatalf("event %d is of %s, want %s", i, name, specs[i].AssetName)
			}
		}
	})
}

// TestPagesOfEvents checks pages that start and end in the middle of a row, and pages that
// skip events that do not match.
func TestPagesOfEvents(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		base := int64(len(f.published()))
		for range 3 { // rows of 10
			f.tx(func(tx *store.Tx) error {
				for i := range 10 {
					tx.Emit(0, hostler.EventQueueUpdated, hostler.ObjectEvent{Object: fmt.Sprint(i)})
				}
				return nil
			})
		}
		f.published()
		third := func(e *store.Event) bool { return e.Pos%3 == 0 }
		for _, c := range []struct {
			name              string
			pos               int64
			rows, limit       int
			keep              func(*store.Event) bool
			first, n, endedAt int64
		}{
			{"whole rows", base, 2, 100, nil, base + 1, 20, base + 20},
			{"into a row", base, 9, 13, nil, base + 1, 13, base + 13},
			{"out of a row", base + 13, 9, 100, nil, base + 14, 17, base + 30},
			{"as many as a row", base, 9, 10, nil, base + 1, 10, base + 10},
			{"the end", base + 30, 9, 10, nil, 0, 0, base + 30},
			{"nothing asked for", base + 5, 9, 10, func(*store.Event) bool { return false }, 0, 0, base + 30},
			{"some asked for", base, 9, 100, third, base + 3 - base%3, 10, base + 30},
		} {
			var p store.EventPage
			err := f.Store.View(t.Context(), func(tx *store.Tx) (err error) {
				p, err = tx.EventsAfter(c.pos, c.rows, c.limit, c.keep)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var first int64
			if len(p.Events) > 0 {
				first = p.Events[0].Pos
			}
			if first != c.first || int64(len(p.Events)) != c.n || p.Last != c.endedAt || p.Missed != 0 {
				t.Errorf("%s: %d events from %d, ended at %d, missed %d; want %d from %d, %d, 0",
					c.name, len(p.Events), first, p.Last, p.Missed, c.n, c.first, c.endedAt)
			}
		}
	})
}

// TestDeleteEvents checks that old events are deleted and positions continue.
func TestDeleteEvents(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		for range 5 {
			f.enqueue(job())
			f.published()
			f.Advance(time.Minute)
		}
		all := f.published()
		kept := func(why string) {
			t.Helper()
			f.tx(func(tx *store.Tx) error { _, err := tx.DeleteEvents(f.Now().Add(time.Hour), 100); return err })
			if left := f.eventsAfter(0); len(left) != len(all) {
				t.Fatalf("%d of %d events are left before %s", len(left), len(all), why)
			}
		}
		kept("their deliveries are made")
		f.makeAll()
		kept("the statistics count them")
		f.addUp((*store.Tx).EndedEvents)
		f.tx(func(tx *store.Tx) error { _, err := tx.DeleteEvents(all[len(all)-2].At, 100); return err })
		left := f.eventsAfter(0)
		if diff := cmp.Diff(all[len(all)-2:], left); diff != "" {
			t.Errorf("left (-want +got):\n%s", diff)
		}
		f.tx(func(tx *store.Tx) error { _, err := tx.DeleteEvents(f.Now().Add(time.Hour), 100); return err })
		f.enqueue(job())
		left = f.published()
		if last := left[len(left)-1].Pos; last != all[len(all)-1].Pos+1 {
			t.Errorf("the next position is %d", last)
		}
	})
}

func FuzzUnpackEvents(f *testing.F) {
	f.Add(store.PackEvents(
		store.Event{Type: hostler.EventQueuePaused, Object: hostler.ObjectEvent{Object: "bulk", By: "olga"}},
		store.Event{Type: hostler.EventJobFailed, Project: 3, Job: hostler.JobEvent{
			Job: 9, Run: 8, Asset: 7, Worker: 6, Attempt: 5, State: hostler.StateFailed, Cause: hostler.CauseFinish, Action: "a",
			Queue: "q", AssetName: "n", CreatedBy: "c", Error: &hostler.JobError{Kind: "k", Text: hostler.Text{EN: "e", ZH: "z"}},
		}}))
	f.Add([]byte{1, 255})
	f.Add([]byte{2, 40, 181, 47, 253})
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := store.UnpackEvents(body)
		if err != nil {
			return
		}
		again, err := store.UnpackEvents(store.PackEvents(events...))
		if err != nil {
			t.Fatal(err)
		}
		if len(events) > 0 {
			if diff := cmp.Diff(events, again); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		}
	})
}
