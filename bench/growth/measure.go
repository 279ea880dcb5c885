package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/store"
)

// measure measures every operation in the present state of the database.
func (b *database) measure(ctx context.Context, reps int, report func(what string, times []took)) error {
	for _, m := range []func(context.Context, int, func(string, []took)) error{
		b.lifecycle, b.reads, b.lists, b.pauses, b.starts,
	} {
		if err := m(ctx, reps, report); err != nil {
			return err
		}
	}
	return nil
}

// took is how long something took, and how much CPU time of this process: on SQLite all of
// it, whatever else runs on the machine.
type took struct{ wall, cpu time.Duration }

// timed adds what fn takes in a transaction.
func timed(times *[]took, run func(func(tx *store.Tx) error) error, fn func(tx *store.Tx) error) error {
	start, cpu := time.Now(), cpuTime()
	err := run(fn)
	*times = append(*times, took{time.Since(start), cpuTime() - cpu})
	return err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it never fails
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lifecycle enqueues, claims and finishes one job at a time.
func (b *database) lifecycle(ctx context.Context, reps int, report func(string, []took)) error {
	var enqueue, claim, finish []took
	inTx := func(fn func(tx *store.Tx) error) error { return b.store.InTx(ctx, fn) }
	for i := range reps {
		err := timed(&enqueue, inTx, func(tx *store.Tx) error {
			_, err := tx.Enqueue([]hostler.JobSpec{b.spec(i)})
			return err
		})
		if err != nil {
			return err
		}
		var got store.Claimed
		err = timed(&claim, inTx, func(tx *store.Tx) (err error) {
			got, err = tx.Claim(b.worker, 1)
			return err
		})
		if err != nil {
			return err
		}
		if len(got.Leases) != 1 {
			return fmt.Errorf("%d leases", len(got.Leases))
		}
		err = timed(&finish, inTx, func(tx *store.Tx) error {
			errs, err := tx.Finish(b.worker, []hostler.Report{{LeaseRef: got.Leases[0].LeaseRef, Outcome: hostler.OutcomeSucceeded}})
			return errors.Join(append(errs, err)...)
		})
		if err := errors.Join(err, b.sum(ctx)); err != nil {
			return err
		}
	}
	report("enqueue with max_depth", enqueue)
	report("claim", claim)
	report("finish", finish)
	return nil
}

// reads reads jobs by id: the newest, and the oldest of the history.
func (b *database) reads(ctx context.Context, reps int, report func(string, []took)) error {
	newest, err := b.list(ctx, store.JobQuery{Project: large, States: []hostler.State{hostler.StateSucceeded}}, 1)
	if err != nil || len(newest) == 0 {
		return errors.Join(err, errors.New("no job has ended"))
	}
	oldest := cmp.Or(b.oldest, newest[0])
	for _, r := range []struct {
		what string
		id   hostler.JobID
	}{{"get job: newest", newest[0]}, {"get job: oldest", oldest}} {
		times, err := b.views(ctx, reps, func(tx *store.Tx) error {
			j, err := tx.Job(large, r.id)
			if err == nil && j == nil {
				err = fmt.Errorf("job %v is missing", r.id)
			}
			return err
		})
		if err != nil {
			return err
		}
		report(r.what, times)
	}
	return nil
}

// views measures a read.
func (b *database) views(ctx context.Context, reps int, read func(tx *store.Tx) error) (times []took, err error) {
	for range reps {
		err := timed(&times, func(fn func(tx *store.Tx) error) error { return b.store.View(ctx, fn) }, read)
		if err != nil {
			return nil, err
		}
	}
	return times, nil
}

func (b *database) list(ctx context.Context, q store.JobQuery, limit int) (ids []hostler.JobID, err error) {
	err = b.store.View(ctx, func(tx *store.Tx) error {
		ids, _, err = tx.ListJobIDs(q, 0, limit)
		return err
	})
	return ids, err
}

// page is the size of the lists.
const page = 50

// lists lists the newest jobs by each filter, with their content.
func (b *database) lists(ctx context.Context, reps int, report func(string, []took)) error {
	for _, l := range []struct {
		what string
		q    store.JobQuery
	}{
		{"list", store.JobQuery{}},
		{"list by state failed", store.JobQuery{States: []hostler.State{hostler.StateFailed}}},
		{"list by state succeeded", store.JobQuery{States: []hostler.State{hostler.StateSucceeded}}},
		{"list by state queued", store.JobQuery{States: []hostler.State{hostler.StateQueued}}},
		{"list by queue", store.JobQuery{Queue: b.queue(7)}},
		{"list by asset", store.JobQuery{Asset: 17}},
		{"list by action", store.JobQuery{Action: "a7"}},
		{"list of a small project", store.JobQuery{Project: small}},
	} {
		l.q.Project = cmp.Or(l.q.Project, large)
		times, err := b.views(ctx, reps, func(tx *store.Tx) error {
			ids, _, err := tx.ListJobIDs(l.q, 0, page)
			if err != nil || len(ids) == 0 {
				return err
			}
			_, err = tx.Jobs(l.q.Project, ids)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", l.what, err)
		}
		report(l.what, times)
	}
	times, err := b.views(ctx, min(reps, 10), func(tx *store.Tx) error {
		_, err := tx.ActionStats(large, 100_000)
		return err
	})
	report("task-stats", times)
	return err
}

// pauses pauses and resumes a queue; each is the longest of the transactions that it takes.
func (b *database) pauses(ctx context.Context, _ int, report func(string, []took)) error {
	for _, paused := range []bool{true, false} {
		var steps []took
		inTx := func(fn func(tx *store.Tx) error) error { return b.store.InTx(ctx, fn) }
		err := timed(&steps, inTx, func(tx *store.Tx) error {
			_, err := tx.SetQueue(b.queue(0), store.QueueSettings{Paused: &paused})
			return err
		})
		if err != nil {
			return err
		}
		if err := b.follow(ctx, func(fn func(tx *store.Tx) error) error { return timed(&steps, inTx, fn) }); err != nil {
			return err
		}
		what := "resume: the longest step"
		if paused {
			what = "pause: the longest step"
		}
		report(what, []took{slices.MaxFunc(steps, func(a, b took) int { return cmp.Compare(a.cpu, b.cpu) })})
	}
	return nil
}

// follow lets the lanes follow a pause or a resume, as the engine does.
func (b *database) follow(ctx context.Context, inTx func(fn func(tx *store.Tx) error) error) error {
	for more := true; more; {
		err := inTx(func(tx *store.Tx) (err error) {
			more, err = tx.FollowPauses()
			return err
		})
		if err != nil {
			return err
		}
	}
	for {
		var stranded []int64
		var resumed store.ResumedQueues
		err := b.store.View(ctx, func(tx *store.Tx) (err error) {
			if resumed, _, err = tx.PendingQueues(); err == nil {
				stranded, err = tx.StrandedLanes(enqueueStep)
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(stranded) == 0 {
			return inTx(func(tx *store.Tx) error { return tx.FollowedResumes(resumed) })
		}
		err = inTx(func(tx *store.Tx) error {
			_, err := tx.PromoteStranded(stranded)
			return err
		})
		if err != nil {
			return err
		}
	}
}

// starts closes the store and opens it again.
func (b *database) starts(ctx context.Context, _ int, report func(string, []took)) error {
	var times []took
	for range 3 {
		if err := b.store.Close(); err != nil {
			return err
		}
		start, cpu := time.Now(), cpuTime()
		if err := b.start(ctx); err != nil {
			return err
		}
		times = append(times, took{time.Since(start), cpuTime() - cpu})
	}
	report("start", times)
	return nil
}
