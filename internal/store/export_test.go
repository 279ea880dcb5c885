package store

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// Places returns in which tables of the queue each live job is, and with which
// lane state: "ready", "wait", "sched", "sched+held", "running", "parked",
// "parked+held". Jobs that ended are "done:<state>".
func (tx *Tx) Places() (map[int64]string, error) {
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
			var where string
			err := r.Scan(&id, &where)
			if was, twice := out[id]; twice {
				where = was + "&" + where
			}
			out[id] = where
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RunAt is when a scheduled job is due.
func (tx *Tx) RunAt(id int64) (at int64, err error) {
	_, err = tx.one(`SELECT run_at FROM sched WHERE id = ?`, []any{id}, &at)
	return at, err
}

// BackoffDelay exports backoffDelay.
var BackoffDelay = backoffDelay

// Each exports each, for tests that look at rows.
func (tx *Tx) Each(sql string, args []any, scan func(r sqldb.Rows) error) error {
	return tx.each(sql, args, scan)
}

// PackEvents makes the body of a row of events.
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
	if err := tx.c.Lock(tx.ctx, queueLock, false); err != nil {
		return err
	}
	return tx.relane(asset, from, to)
}
