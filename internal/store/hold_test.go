package store_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/schema"
)

// TestHeldDispatch checks that no claim takes a job while dispatch is held, that what
// waits is counted and explained, and that it starts after the release.
func TestHeldDispatch(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		f.makeProject()
		running := f.enqueue(job())[0]
		l := f.claim(f.worker, 1)[0]
		f.tx(func(tx *store.Tx) error { return tx.HoldDispatch(schema.Hold{Reason: hostler.HoldAdmin, By: "alice"}) })
		later := func(s *hostler.JobSpec) { s.RunAt = f.Now().Add(time.Hour) }
		f.tx(func(tx *store.Tx) error {
			_, err := tx.SetQueue("new", store.QueueSettings{})
			return err
		})
		waits := f.enqueue(job(), job(inQueue("new")), job(later))
		if got := f.claim(f.worker, 10); len(got) != 0 {
			t.Errorf("claimed %v", got)
		}
		if err := f.finish(f.worker, l, hostler.OutcomeSucceeded); err != nil {
			t.Errorf("a running job: %v", err)
		}
		f.wantTable(running, "done:succeeded")
		f.tx(func(tx *store.Tx) error {
			why, err := tx.Explain(waits[0], testProject)
			if err != nil || len(why) == 0 || why[0].Reason != hostler.WaitHeld {
				t.Errorf("why it waits: %v, %v", why, err)
			}
			held, more, err := tx.HeldJobs(0)
			if err != nil || more || len(held) != 2 || held[0].Jobs != 2 || held[0].Due != 1 || held[1].Queue != "new" {
				t.Errorf("what waits: %+v, %v", held, err)
			}
			return nil
		})
		f.tx(func(tx *store.Tx) error { return tx.ReleaseDispatch() })
		if got := f.claim(f.worker, 10); len(got) != 2 {
			t.Errorf("claimed %v after the release", got)
		}
		f.wantInvariants()
	})
}

// TestCopiedDatabaseIsHeld: another identity than the stored one holds dispatch, once.
func TestCopiedDatabaseIsHeld(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		held := func(identity string) (reason string) {
			f.tx(func(tx *store.Tx) error {
				if err := tx.HoldCopy(identity); err != nil {
					return err
				}
				h, err := tx.Hold()
				if h != nil {
					reason = h.Reason
				}
				return err
			})
			return reason
		}
		if r := held("a"); r != "" {
			t.Errorf("the first start: held, %s", r)
		}
		if r := held("a"); r != "" {
			t.Errorf("the next start: held, %s", r)
		}
		if r := held("b"); r != hostler.HoldCopy {
			t.Errorf("a copy: %q", r)
		}
		f.tx(func(tx *store.Tx) error { return tx.ReleaseDispatch() })
		if r := held("b"); r != "" {
			t.Errorf("after the release: held, %s", r)
		}
	})
}
