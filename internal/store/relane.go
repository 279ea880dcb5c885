package store

import (
	"slices"

	"hostler.dev/hostler"
)

// This file moves the live jobs of an asset from one device's lane to another's,
// when the asset's device key changes: jobs that run on the device, or whose
// outcome there is unknown, must keep later ones waiting under the new key too.

// lockDeviceKey returns the device key of an asset; no other transaction changes it
// before this one ends. When it differs from next, the transaction holds the queue
// lock exclusively: it may move the asset's jobs.
func (tx *Tx) lockDeviceKey(asset hostler.AssetID, next string) (string, error) {
	var key string
	read := func() error {
		_, err := tx.one(`SELECT device_key FROM asset WHERE id = ?`, []any{asset}, &key)
		return err
	}
	if err := read(); err != nil {
		return "", err
	}
	shared := key == next
	if err := tx.c.Lock(tx.ctx, queueLock, shared); err != nil {
		return "", err
	}
	// Read again under the lock: another transaction may have changed the key.
	if err := read(); err != nil || key == next || !shared {
		return key, err
	}
	return key, tx.c.Lock(tx.ctx, queueLock, false)
}

// relane moves the live jobs of an asset from the lane with one key to the lane
// with another. The transaction holds the queue lock exclusively, so no other one
// locks lanes, claims, or finishes jobs meanwhile.
//
// A job that holds its lane (running, unknown, or backing off) holds the new one
// instead, even beyond its limit; the others queue behind it by their arrival.
func (tx *Tx) relane(asset hostler.AssetID, from, to string) error {
	var old laneID
	found, err := tx.one(`SELECT id FROM lane WHERE key = ?`, []any{from}, &old)
	if err != nil || !found {
		return err
	}
	ids, err := column[hostler.JobID](tx, `SELECT id FROM job WHERE lane = ? AND asset = ?`, old, asset)
	if err != nil || len(ids) == 0 {
		return err
	}
	c, err := tx.readQueues()
	if err != nil {
		return err
	}
	lanes, err := c.ensureLanes(map[string]int64{to: 1})
	if err != nil {
		return err
	}
	if err := c.lockLanes([]laneID{old}); err != nil {
		return err
	}
	move := relaning{queueChange: c, from: c.lanes[old], to: c.lanes[lanes[to]], ids: ids}
	if err := move.holders(); err != nil {
		return err
	}
	if err := move.waiters(); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE job SET lane = ?, lane_key = ? WHERE id IN ?*`, move.to.ID, to, ids)
	if err != nil {
		return err
	}
	return c.flush()
}

// relaning is a move of jobs between two locked lanes.
type relaning struct {
	*queueChange
	from, to *lane
	ids      []hostler.JobID
}

// holders moves the jobs that hold a lane: they hold the new one.
func (m *relaning) holders() error {
	for _, sql := range []string{
		`UPDATE running SET lane = ? WHERE id IN ?* RETURNING 1`,
		`UPDATE parked SET lane = ? WHERE id IN ?* RETURNING lane_held`,
		`UPDATE sched SET lane = ? WHERE id IN ?* RETURNING lane_held`,
	} {
		held, err := column[int64](m.tx, sql, m.to.ID, m.ids)
		if err != nil {
			return err
		}
		for range slices.DeleteFunc(held, func(h int64) bool { return h == 0 }) {
			m.from.release()
			m.to.take()
		}
	}
	return nil
}

// waiters queues the jobs that have not started behind the new lane.
func (m *relaning) waiters() error {
	var moved []entry
	for _, take := range []func([]hostler.JobID) ([]entry, error){m.takeWait, m.takeReady} {
		entries, err := take(m.ids)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			m.releaseLane(*e)
			m.to.adopt(e.QueuedAt)
			e.Lane, e.HoldsLane = m.to.ID, false
		}
		moved = append(moved, entries...)
	}
	if len(moved) > 0 {
		// Those that wait there already may have arrived before: flush chooses.
		m.to.freed = true
	}
	m.admitAll(moved)
	return nil
}
