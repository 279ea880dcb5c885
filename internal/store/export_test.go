package store

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// JobTables returns the table of the queue that each live job is in, with "+held" if it
// holds its lane there: "ready", "wait", "sched", "sched+held", "running", "parked" or
// "parked+held". For jobs that ended it returns "done:<state>", and for a job that is in
// several tables, which breaks an invariant, their names joined with "&".
func (tx *Tx) JobTables() (map[int64]string, error) {
	out := map[int64]string{}
	for _, sql := range []string{
		`SELECT id, 'ready' FROM ready`,
		`SELECT id, 'wait' FROM wait`,
		`SELECT id, CASE lane_held WHEN 1 THEN 'sched+held' ELSE 'sched' END FROM sched`,
		`SELECT id, 'running' FROM running`,
		`SELECT id, CASE lane_held WHEN 1 THEN 'parked+held' ELSE 'parked' END FROM parked`,
		`SELECT id, 'done:' || state FROM done`,
	} {
		err := tx.each(sql, nil, func(r sqldb.Rows) error {
			var id int64
			var table string
			err := r.Scan(&id, &table)
			if other, duplicate := out[id]; duplicate {
				table = other + "&" + table
			}
			out[id] = table
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RunAt returns the time at which a scheduled job is due.
func (tx *Tx) RunAt(id int64) (at int64, err error) {
	_, err = tx.one(`SELECT run_at FROM sched WHERE id = ?`, []any{id}, &at)
	return at, err
}

// Each exports each, for tests that read rows.
func (tx *Tx) Each(sql string, args []any, scan func(r sqldb.Rows) error) error {
	return tx.each(sql, args, scan)
}

// PackEvents encodes events as the body of a row.
func PackEvents(events ...Event) []byte {
	var b eventBuffer
	for i := range events {
		b.add(&events[i])
	}
	if b.n == 0 {
		return []byte{eventsPlain}
	}
	return b.pack()
}

// UnpackEvents exports unpackEvents.
func UnpackEvents(body []byte) ([]Event, error) { return unpackEvents(nil, body) }

// Relane moves the jobs of an asset as UpdateAsset does when a device key changes.
func (tx *Tx) Relane(asset hostler.AssetID, from, to string) error {
	return tx.relane([]keyChange{{asset, from, to}})
}

// SetRelaneStep changes how many jobs one step of a relaning looks at.
func SetRelaneStep(n int) (restore func()) {
	was := relaneStep
	relaneStep = n
	return func() { relaneStep = was }
}

// MoveJobs does what the end of a transaction does that changed assets.
func (tx *Tx) MoveJobs() error { return tx.moveJobs() }
