package store

import (
	"cmp"
	"maps"
	"slices"

	"hostler.dev/hostler"
)

// This file counts the jobs that wait, by queue and project, so that nobody has to
// read them to learn how many there are. A transaction adds the change that it makes
// to queue_delta: a row of its own, for which no other transaction waits. The engine
// adds these up ([Tx.SumCounts]).

// countKey is what jobs are counted by.
type countKey struct {
	Queue   string            `db:"queue"`
	Project hostler.ProjectID `db:"project"`
}

// counts are numbers of jobs, or the changes of these numbers.
type counts struct {
	Queued    int64 `db:"queued"`    // in ready and wait
	Scheduled int64 `db:"scheduled"` // in sched
}

// countRow is a row of queue_count, or of queue_delta without its id.
type countRow struct {
	countKey
	counts
}

// allCounts is a table of the counts of every queue and project; several rows may
// have the same key.
const allCounts = `(SELECT queue, project, queued, scheduled FROM queue_count
UNION ALL SELECT queue, project, queued, scheduled FROM queue_delta)`

// count notes that the counts of a job's queue and project change.
func (tx *Tx) count(e *entry, queued, scheduled int64) {
	if tx.counts == nil {
		tx.counts = map[countKey]counts{}
	}
	k := countKey{e.Queue, e.Project}
	was := tx.counts[k]
	tx.counts[k] = counts{was.Queued + queued, was.Scheduled + scheduled}
}

// flushCounts writes the changes of the transaction; it is its last step.
func (tx *Tx) flushCounts() error {
	var rows []countRow
	for k, n := range tx.counts {
		if n != (counts{}) {
			rows = append(rows, countRow{k, n})
		}
	}
	tx.counts = nil
	return insert(tx, "queue_delta", rows)
}

// depth returns how many jobs wait in a queue, those of this transaction included.
func (tx *Tx) depth(queue string) (int64, error) {
	var n int64
	_, err := tx.one(`SELECT CAST(COALESCE(sum(c.queued), 0) AS BIGINT) FROM `+allCounts+` c WHERE c.queue = ?`,
		[]any{queue}, &n)
	for k, c := range tx.counts {
		if k.Queue == queue {
			n += c.Queued
		}
	}
	return n, err
}

// waitingOf returns how many jobs of a project wait or are scheduled, in all queues, those
// of this transaction included.
func (tx *Tx) waitingOf(p hostler.ProjectID) (int64, error) {
	var n int64
	_, err := tx.one(`SELECT CAST(COALESCE(sum(c.queued + c.scheduled), 0) AS BIGINT) FROM `+allCounts+
		` c WHERE c.project = ?`, []any{p}, &n)
	for k, c := range tx.counts {
		if k.Project == p {
			n += c.Queued + c.Scheduled
		}
	}
	return n, err
}

// queuedByQueue returns how many jobs wait in each queue.
func (tx *Tx) queuedByQueue() (map[string]int, error) {
	type sum struct {
		Queue string `db:"c.queue"`
		N     int    `db:"CAST(sum(c.queued) AS BIGINT)"`
	}
	sums, err := query[sum](tx, `SELECT @cols FROM `+allCounts+` c GROUP BY c.queue`)
	out := make(map[string]int, len(sums))
	for _, s := range sums {
		out[s.Queue] = s.N
	}
	return out, err
}

// CountsPending reports whether [Tx.SumCounts] has anything to do.
func (tx *Tx) CountsPending() (bool, error) {
	return tx.exists(`SELECT id FROM queue_delta LIMIT 1`)
}

// SumCounts adds up to limit rows of queue_delta to queue_count, and returns how many
// there were.
func (tx *Tx) SumCounts(limit int) (int64, error) {
	ids, err := column[int64](tx, `SELECT id FROM queue_delta ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	sums := map[countKey]counts{}
	err = queryEach(tx, `DELETE FROM queue_delta WHERE id IN ?* RETURNING @cols`, []any{ids}, func(r *countRow) error {
		was := sums[r.countKey]
		sums[r.countKey] = counts{was.Queued + r.Queued, was.Scheduled + r.Scheduled}
		return nil
	})
	if err != nil {
		return 0, err
	}
	// In one order: the engines of several servers do this at the same time.
	keys := slices.SortedFunc(maps.Keys(sums), func(a, b countKey) int {
		return cmp.Or(cmp.Compare(a.Queue, b.Queue), cmp.Compare(a.Project, b.Project))
	})
	rows := make([]countRow, len(keys))
	for i, k := range keys {
		rows[i] = countRow{k, sums[k]}
	}
	_, err = execRows(tx, `INSERT INTO queue_count (queue, project, queued, scheduled)
SELECT v.queue, v.project, v.queued, v.scheduled FROM @rows WHERE true
ON CONFLICT (queue, project) DO UPDATE SET queued = queue_count.queued + excluded.queued,
scheduled = queue_count.scheduled + excluded.scheduled`, rows)
	return int64(len(ids)), err
}
