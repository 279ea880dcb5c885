package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
	"hostler.dev/hostler/internal/store/sqlite"
)

// openExample opens a store on SQLite in a temporary folder, with the queue default.
func openExample() (s *store.Store, cleanup func()) {
	dir, err := os.MkdirTemp("", "store-example")
	if err != nil {
		panic(err)
	}
	db, err := sqlite.Open(filepath.Join(dir, "hostler.db"), sqlite.Options{})
	if err != nil {
		panic(err)
	}
	output, err := sqlite.OpenLog(filepath.Join(dir, "log.db"), sqlite.Options{})
	if err != nil {
		panic(err)
	}
	s = store.New(db, output)
	mustTx(s, func(tx *store.Tx) error {
		_, err := tx.SetQueue("default", store.QueueSettings{})
		return err
	})
	return s, func() {
		if err := s.Close(); err != nil {
			panic(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
	}
}

func mustTx(s *store.Store, fn func(tx *store.Tx) error) {
	if err := s.InTx(context.Background(), fn); err != nil {
		panic(err)
	}
}

// exampleJob is a job without lane.
func exampleJob() hostler.JobSpec {
	return hostler.JobSpec{
		Project: 1, Queue: "default", Action: "check_port", Args: []byte(`{"port": 22}`),
		Priority: hostler.PriorityDefault, MaxAttempts: 1,
		OnLost: hostler.OnLostRetry, OnUnknown: hostler.OnUnknownHold, OnRetry: hostler.OnRetryHold,
	}
}

// A transaction returns nil once it is durable. A function that returns an error
// leaves nothing behind.
func ExampleStore_InTx() {
	s, cleanup := openExample()
	defer cleanup()

	err := s.InTx(context.Background(), func(tx *store.Tx) error {
		if _, err := tx.InsertProject("lab"); err != nil {
			return err
		}
		_, err := tx.InsertProject("lab") // the name is taken
		return err
	})
	fmt.Println(hostler.CodeOf(err))

	mustTx(s, func(tx *store.Tx) error {
		lab, err := tx.ProjectByName("lab")
		fmt.Println("rolled back:", lab == nil)
		return err
	})
	// Output:
	// conflict
	// rolled back: true
}

// Jobs of one lane run one at a time: only the first is ready, the others wait.
func ExampleTx_Enqueue() {
	s, cleanup := openExample()
	defer cleanup()

	mustTx(s, func(tx *store.Tx) error {
		a, b, later := exampleJob(), exampleJob(), exampleJob()
		a.LaneKey, a.LaneLimit = hostler.AssetLaneKey("10.0.0.1"), 1
		b.LaneKey, b.LaneLimit = a.LaneKey, 1
		later.RunAt = tx.Now().Add(time.Hour)
		ids, err := tx.Enqueue([]hostler.JobSpec{a, b, later})
		if err != nil {
			return err
		}
		for _, id := range ids {
			why, err := tx.Explain(id, a.Project)
			if err != nil {
				return err
			}
			fmt.Println(why[0].Reason)
		}
		return nil
	})
	// Output:
	// no_worker
	// lane
	// scheduled
}

// A worker claims jobs under a fence and reports their outcome with it.
func ExampleTx_Claim() {
	s, cleanup := openExample()
	defer cleanup()

	var worker hostler.WorkerID
	mustTx(s, func(tx *store.Tx) (err error) {
		if _, err = tx.Enqueue([]hostler.JobSpec{exampleJob()}); err != nil {
			return err
		}
		worker, err = tx.RegisterWorker(hostler.WorkerInfo{Name: "node-1", Queues: []string{"*"}, Slots: 4})
		return err
	})

	var claimed store.Claimed
	mustTx(s, func(tx *store.Tx) (err error) {
		claimed, err = tx.Claim(worker, 4)
		return err
	})
	lease := claimed.Leases[0]
	fmt.Println(lease.Action, "attempt", lease.Attempt)

	mustTx(s, func(tx *store.Tx) error {
		report := hostler.Report{LeaseRef: lease.LeaseRef, Outcome: hostler.OutcomeSucceeded}
		acks, err := tx.Finish(worker, []hostler.Report{report})
		fmt.Println("acknowledged:", acks[0] == nil)
		return err
	})
	// Output:
	// check_port attempt 1
	// acknowledged: true
}

// A waiting job is cancelled at once.
func ExampleTx_CancelJob() {
	s, cleanup := openExample()
	defer cleanup()

	mustTx(s, func(tx *store.Tx) error {
		ids, err := tx.Enqueue([]hostler.JobSpec{exampleJob()})
		if err != nil {
			return err
		}
		state, err := tx.CancelJob(ids[0], "alice")
		fmt.Println(state)
		return err
	})
	// Output: cancelled
}

// A subscriber is notified after the commit that added work.
func ExampleStore_Subscribe() {
	s, cleanup := openExample()
	defer cleanup()

	notified, stop := s.Subscribe(store.TopicWork)
	defer stop()
	mustTx(s, func(tx *store.Tx) error {
		_, err := tx.Enqueue([]hostler.JobSpec{exampleJob()})
		return err
	})
	<-notified
	fmt.Println("there is work")
	// Output: there is work
}

// The invariants hold after every transaction.
func ExampleTx_CheckInvariants() {
	s, cleanup := openExample()
	defer cleanup()

	err := s.View(context.Background(), func(tx *store.Tx) error {
		broken, err := tx.CheckInvariants()
		fmt.Println("broken:", len(broken))
		return err
	})
	if err != nil {
		panic(err)
	}
	// Output: broken: 0
}
