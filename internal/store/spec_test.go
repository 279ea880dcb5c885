package store_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

// TestLeaseWithoutRead leases jobs by the server that created them, which remembers what
// they were created from, and by another, which reads it. The leases are the same.
func TestLeaseWithoutRead(t *testing.T) {
	storetest.EachDriver(t, func(t *testing.T, ds *storetest.Drivers) {
		n := new(int)
		db := counting{ds.Open(t), n}
		creator, other := store.New(db, db), store.New(db, db)
		tx := func(st *store.Store, fn func(tx *store.Tx) error) {
			t.Helper()
			if err := st.InTx(t.Context(), fn); err != nil {
				t.Fatal(err)
			}
		}
		var worker hostler.WorkerID
		tx(creator, func(tx *store.Tx) (err error) {
			if _, err = tx.SetQueue(hostler.DefaultQueue, store.QueueSettings{}); err != nil {
				return err
			}
			worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "w", Queues: []string{"*"}, Slots: 100})
			return err
		})
		full := job(func(s *hostler.JobSpec) {
			s.Run, s.AssetName, s.Asset, s.MaxAttempts = 42, "core-1", 7, 3
			s.Timeout, s.OnLost, s.Args = time.Minute, hostler.OnLostAsk, json.RawMessage(`{"n":1}`)
		})
		claim := func(st *store.Store) (leases []hostler.Lease, statements int) {
			t.Helper()
			tx(creator, func(tx *store.Tx) error {
				_, err := tx.Enqueue([]hostler.JobSpec{full, job()})
				return err
			})
			*n = 0
			tx(st, func(tx *store.Tx) error {
				claimed, err := tx.Claim(worker, 2)
				leases = claimed.Leases
				return err
			})
			for i := range leases {
				leases[i].LeaseRef, leases[i].StartedAt = hostler.LeaseRef{}, time.Time{}
			}
			return leases, *n
		}
		own, cheap := claim(creator)
		read, dear := claim(other)
		if diff := cmp.Diff(read, own); diff != "" || len(own) != 2 {
			t.Errorf("%d leases; read and remembered ones differ:\n%s", len(own), diff)
		}
		if cheap != dear-1 {
			t.Errorf("the claim of the creator took %d statements, the other %d", cheap, dear)
		}
	})
}

// TestLeaseRespectsTTL leases a job with a ttl that is handed back: its ttl, which was
// suspended, counts again on the server that leased it.
func TestLeaseRespectsTTL(t *testing.T) {
	eachFixture(t, func(t *testing.T, f *fixture) {
		w := f.register("*")
		f.enqueue(job(func(s *hostler.JobSpec) { s.ExpiresAt = f.Store.Now().Add(time.Minute) }))
		lease := f.claim(w, 1)[0]
		if err := f.finish(w, lease, hostler.OutcomeHandBack); err != nil {
			t.Fatal(err)
		}
		f.Advance(2 * time.Minute)
		var claimed store.Claimed
		f.tx(func(tx *store.Tx) (err error) {
			claimed, err = tx.Claim(w, 1)
			return err
		})
		if len(claimed.Leases) != 0 || !claimed.Overdue {
			t.Errorf("leased %d jobs, overdue %v; want none, and that one is overdue", len(claimed.Leases), claimed.Overdue)
		}
	})
}
