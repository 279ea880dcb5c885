package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
	"hostler.dev/hostler/internal/tracing"
)

// saveTraces notes that runs belong to the trace of the request. Jobs that a run gets later
// belong to it too.
func (tx *Tx) saveTraces(specs []hostler.JobSpec) error {
	parent := tracing.From(tx.ctx)
	if parent == "" {
		return nil
	}
	type traced struct {
		Run         hostler.RunID `db:"run"`
		Traceparent string        `db:"traceparent"`
		CreatedAt   time.Time     `db:"created_at"`
	}
	var rows []traced
	seen := map[hostler.RunID]bool{0: true}
	for i := range specs {
		if run := specs[i].Run; !seen[run] {
			seen[run] = true
			rows = append(rows, traced{run, parent, tx.now})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := execRows(tx, `INSERT INTO run_trace (run, traceparent, created_at)
SELECT v.run, v.traceparent, v.created_at FROM @rows WHERE true ON CONFLICT (run) DO NOTHING`, rows)
	return err
}

// RunTraces returns the traceparents of runs that have one.
func (tx *Tx) RunTraces(runs []hostler.RunID) (map[hostler.RunID]string, error) {
	type traced struct {
		Run         hostler.RunID `db:"run"`
		Traceparent string        `db:"traceparent"`
	}
	rows, err := query[traced](tx, `SELECT @cols FROM run_trace WHERE run IN ?*`, runs)
	out := make(map[hostler.RunID]string, len(rows))
	for _, r := range rows {
		out[r.Run] = r.Traceparent
	}
	return out, err
}

// DeleteTraces deletes up to limit traceparents from before a time.
func (tx *Tx) DeleteTraces(before time.Time, limit int) (int64, error) {
	return tx.Exec(`DELETE FROM run_trace WHERE run IN (SELECT t.run FROM run_trace t WHERE t.created_at < ?
ORDER BY t.created_at LIMIT ?)`, sqldb.Micros(before), limit)
}
