package store

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Claimed is what one claim took.
type Claimed struct {
	Leases []hostler.Lease // assets and credentials are not filled in yet
	// Overdue says that the claim passed over jobs whose ttl is over: run
	// ExpireDue.
	Overdue bool
	// KeptUntil is when the first of the jobs that are kept for another worker may
	// go to this one. It is told when the claim found nothing, for nobody rings
	// then; zero: no job is kept.
	KeptUntil time.Time
}

// candidate is a ready job that a claim may take.
type candidate struct {
	ticket
	rank int64
}

// Claim leases up to n ready jobs to a worker. CodeStale: the worker is fenced.
// Locks: the worker's row, so that a rescue cannot overtake the claim; the rows
// of limited queues; the ready rows, skipping those that another claim holds.
func (tx *Tx) Claim(w hostler.WorkerID, n int) (Claimed, error) {
	if err := tx.c.Lock(tx.ctx, pauseLock, true); err != nil {
		return Claimed{}, err
	}
	serves, err := tx.claimant(w)
	if err != nil {
		return Claimed{}, err
	}
	open, err := tx.openQueues(serves, n)
	if err != nil {
		return Claimed{}, err
	}
	var found []candidate
	for _, q := range open {
		if found, err = tx.candidates(found, q, int64(w)); err != nil {
			return Claimed{}, err
		}
	}
	slices.SortFunc(found, byRank)
	if len(found) > n {
		found = found[:n]
	}
	if len(found) == 0 {
		kept, err := tx.keptUntil(open, int64(w))
		return Claimed{KeptUntil: kept}, err
	}
	return tx.lease(int64(w), found)
}

// keptUntil is when the next job that is kept for another worker becomes free. One
// whose time is over is in the hands of another claim.
func (tx *Tx) keptUntil(open []openQueue, worker int64) (time.Time, error) {
	names := make([]string, len(open))
	for i, q := range open {
		names[i] = q.name
	}
	var at int64
	_, err := tx.one(`SELECT free_at FROM ready WHERE owner <> 0 AND owner <> ? AND free_at > ? AND queue IN ?* ORDER BY free_at LIMIT 1`,
		[]any{worker, sqldb.Micros(tx.now), names}, &at)
	return sqldb.Time(at), err
}

func (tx *Tx) claimant(w hostler.WorkerID) ([]string, error) {
	var queues string
	var dead int64
	found, err := tx.one(`SELECT queues, dead FROM worker WHERE id = ? FOR SHARE`, []any{int64(w)}, &queues, &dead)
	if err != nil {
		return nil, err
	}
	if !found || dead != 0 {
		return nil, errFenced()
	}
	var names []string
	if err := json.Unmarshal([]byte(queues), &names); err != nil {
		return nil, fmt.Errorf("decode the queues of worker %v: %w", w, err)
	}
	return names, nil
}

func errFenced() error {
	return hostler.Errorf(hostler.CodeStale,
		"the worker's lease is over: stop its jobs and register anew",
		"工作节点的租约已失效：请停止其作业并重新注册")
}

// openQueue is a queue that a claim may take jobs from, and how many.
type openQueue struct {
	name string
	room int64
}

// openQueues lists the queues that the worker serves, that are not paused, and
// that have room under their limit. Limits are counted under the queue's row.
func (tx *Tx) openQueues(serves []string, n int) ([]openQueue, error) {
	all := slices.Contains(serves, "*")
	var open []openQueue
	var limited []string
	err := tx.each(`SELECT name, lim FROM queue WHERE paused = 0 ORDER BY name`, nil, func(r sqldb.Rows) error {
		var name string
		var lim int64
		if err := r.Scan(&name, &lim); err != nil {
			return err
		}
		if !all && !slices.Contains(serves, name) {
			return nil
		}
		if lim > 0 {
			limited = append(limited, name)
		} else {
			open = append(open, openQueue{name, int64(n)})
		}
		return nil
	})
	if err != nil || len(limited) == 0 {
		return open, err
	}
	limits := map[string]int64{}
	err = tx.each(`SELECT name, lim FROM queue WHERE name IN ?* AND paused = 0 ORDER BY name FOR UPDATE`, []any{limited}, func(r sqldb.Rows) error {
		var name string
		var lim int64
		if err := r.Scan(&name, &lim); err != nil {
			return err
		}
		limits[name] = lim
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range limited {
		room := int64(n)
		if lim := limits[name]; lim > 0 {
			// In a statement after the lock: claims that went before are counted.
			var busy int64
			if _, err := tx.one(`SELECT count(*) FROM running WHERE queue = ?`, []any{name}, &busy); err != nil {
				return nil, err
			}
			room = min(room, lim-busy)
		} else if _, still := limits[name]; !still {
			room = 0
		}
		if room > 0 {
			open = append(open, openQueue{name, room})
		}
	}
	return open, nil
}

func byRank(a, b candidate) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id)) }

// candidates adds the best ready jobs of a queue: those that anybody may take,
// those kept for this worker, and those kept for another for too long.
func (tx *Tx) candidates(found []candidate, q openQueue, worker int64) ([]candidate, error) {
	const fields = `SELECT id, queue, lane, prio, attempt, losses, fence, queued_at, rank FROM ready `
	first := len(found)
	add := func(r sqldb.Rows) error {
		c := candidate{ticket: ticket{held: true}}
		err := r.Scan(&c.id, &c.queue, &c.lane, &c.prio, &c.attempt, &c.losses, &c.fence, &c.queuedAt, &c.rank)
		found = append(found, c)
		return err
	}
	for _, owner := range []int64{0, worker} {
		err := tx.each(fields+`WHERE queue = ? AND owner = ? ORDER BY rank, id LIMIT ? FOR UPDATE SKIP LOCKED`,
			[]any{q.name, owner, q.room}, add)
		if err != nil {
			return nil, err
		}
	}
	// A reservation that lasts longer than any does was made by a clock that was
	// set back since: it is over.
	err := tx.each(fields+`WHERE owner <> 0 AND owner <> ? AND (free_at <= ? OR free_at > ?) AND queue = ?
ORDER BY free_at, rank, id LIMIT ? FOR UPDATE SKIP LOCKED`,
		[]any{worker, sqldb.Micros(tx.now), sqldb.Micros(tx.now.Add(2 * ownerHint)), q.name, q.room}, add)
	if err != nil {
		return nil, err
	}
	if mine := found[first:]; int64(len(mine)) > q.room {
		slices.SortFunc(mine, byRank)
		found = found[:first+int(q.room)]
	}
	return found, nil
}

// lease moves candidates from ready to running.
func (tx *Tx) lease(worker int64, found []candidate) (Claimed, error) {
	ids := make([]int64, len(found))
	byID := make(map[int64]*candidate, len(found))
	for i := range found {
		ids[i] = found[i].id
		byID[found[i].id] = &found[i]
	}
	var out Claimed
	var rows [][]any
	var taken, ttl []int64
	now := sqldb.Micros(tx.now)
	err := tx.each(`SELECT id, project, run, action, asset, asset_name, created_by, max_attempts, timeout, on_lost, expires_at, args FROM job WHERE id IN ?*`,
		[]any{ids}, func(r sqldb.Rows) error {
			var l hostler.Lease
			var id, project, run, asset, timeout, expires int64
			var assetName, createdBy, onLost, args string
			if err := r.Scan(&id, &project, &run, &l.Action, &asset, &assetName, &createdBy, &l.MaxAttempts, &timeout, &onLost, &expires, &args); err != nil {
				return err
			}
			if expires > 0 && expires <= now {
				out.Overdue = true
				return nil
			}
			c := byID[id]
			c.fence++
			c.attempt++
			l.LeaseRef = hostler.LeaseRef{Job: hostler.JobID(id), Fence: c.fence}
			l.Project, l.Run, l.Queue = hostler.ProjectID(project), hostler.RunID(run), c.queue
			l.Args, l.Attempt, l.OnLost = json.RawMessage(args), int(c.attempt), hostler.OnLost(onLost)
			l.Timeout, l.StartedAt = time.Duration(timeout)*time.Microsecond, tx.now
			if asset != 0 {
				l.Asset = &hostler.LeaseAsset{ID: assetID(asset)}
			}
			out.Leases = append(out.Leases, l)
			taken = append(taken, id)
			if expires > 0 {
				ttl = append(ttl, id)
			}
			rows = append(rows, []any{
				id, worker, c.queue, c.lane, c.prio, c.attempt, c.losses, c.fence, c.queuedAt, now,
			})
			tx.emitJob(l.Project, hostler.JobEvent{
				Job: l.Job, Run: l.Run, Action: l.Action, Queue: l.Queue, Asset: assetID(asset), AssetName: assetName,
				State: hostler.StateRunning, Cause: hostler.CauseLease, Attempt: l.Attempt, Worker: hostler.WorkerID(worker),
				CreatedBy: createdBy,
			})
			return nil
		})
	if err != nil || len(taken) == 0 {
		return out, err
	}
	slices.SortFunc(out.Leases, func(a, b hostler.Lease) int {
		return cmp.Or(cmp.Compare(byID[int64(a.Job)].rank, byID[int64(b.Job)].rank), cmp.Compare(a.Job, b.Job))
	})
	return out, tx.writeLeases(taken, ttl, rows)
}

func (tx *Tx) writeLeases(taken, ttl []int64, rows [][]any) error {
	if _, err := tx.Exec(`DELETE FROM ready WHERE id IN ?*`, taken); err != nil {
		return err
	}
	if len(ttl) > 0 {
		// A ttl bounds the wait for the first start only. Less than 0, it counts
		// again when that start does not happen.
		if _, err := tx.Exec(`UPDATE job SET expires_at = -expires_at WHERE id IN ?*`, ttl); err != nil {
			return err
		}
	}
	_, err := tx.c.ExecRows(tx.ctx, `INSERT INTO running (id, worker, queue, lane, prio, attempt, losses, fence, queued_at, started_at)
SELECT v.id, v.worker, v.queue, v.lane, v.prio, v.attempt, v.losses, v.fence, v.queued_at, v.started_at FROM @rows`,
		[]sqldb.Col{
			{Name: "id", Type: sqldb.Int},
			{Name: "worker", Type: sqldb.Int},
			{Name: "queue", Type: sqldb.Text},
			{Name: "lane", Type: sqldb.Int},
			{Name: "prio", Type: sqldb.Int},
			{Name: "attempt", Type: sqldb.Int},
			{Name: "losses", Type: sqldb.Int},
			{Name: "fence", Type: sqldb.Int},
			{Name: "queued_at", Type: sqldb.Int},
			{Name: "started_at", Type: sqldb.Int},
		}, rows)
	return err
}
