package bench_test

import (
	"testing"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/bench"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }

// TestRun does a short run on each store and checks that every figure is there. How
// large they are depends on the machine.
func TestRun(t *testing.T) {
	for kind, db := range map[string]string{"sqlite": "", "postgres": storetest.Postgres(t)} {
		t.Run(kind, func(t *testing.T) {
			var progress []hostler.Text
			r, err := bench.Run(t.Context(), bench.Options{
				DB: db, Jobs: 500, Slots: 50, Lanes: []int{0, 10}, Rounds: 1, Steady: 200 * time.Millisecond,
				Progress: func(what hostler.Text) { progress = append(progress, what) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Rows) != 3 || len(progress) != 3 {
				t.Fatalf("got %d rows, progress %v; want two scenarios and the ceiling", len(r.Rows), progress)
			}
			for _, row := range r.Rows {
				if row.JobsPerS <= 0 || row.CPUMicros <= 0 || row.WALBytes <= 0 || row.Share <= 0 {
					t.Errorf("%s: a figure is missing: %+v", row.Scenario, row)
				}
			}
			if r.Rows[0].StartP50 <= 0 || r.Rows[0].StartP99 < r.Rows[0].StartP50 {
				t.Errorf("time to start: %+v", r.Rows[0])
			}
		})
	}
}

// TestRefusesDatabaseInUse runs on a database that has the queue of a server.
func TestRefusesDatabaseInUse(t *testing.T) {
	dsn := storetest.Postgres(t)
	db := storetest.OpenPostgres(t, dsn, nil)
	err := store.New(db, db).InTx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.SetQueue(hostler.DefaultQueue, store.QueueSettings{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = bench.Run(t.Context(), bench.Options{DB: dsn, Jobs: 10})
	if hostler.CodeOf(err) != hostler.CodeConflict {
		t.Errorf("got %v, want a conflict", err)
	}
}
