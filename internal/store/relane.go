package store

import (
	"slices"

	"hostler.dev/hostler"
)

// This file moves the live jobs of an asset from one device's lane to another's,
// when the asset's device key changes: jobs that run on the device, or whose
// outcome there is unknown, must keep later ones waiting under the new key too.

// lockDeviceKey returns the device key of an asset as it stays until the
// transaction ends. When it differs from next, the transaction holds the pause
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
	if err := tx.c.Lock(tx.ctx, pauseLock, shared); err != nil {
		return "", err
	}
	// Read again under the lock: whoever held it before may have changed the key.
	if err := read(); err != nil || key == next || !shared {
		return key, err
	}
	return key, tx.c.Lock(tx.ctx, pauseLock, false)
}

// relane moves the live jobs of an asset from the lane with one key to the lane
// with another. The transaction holds the pause lock exclusively, so no other one
// locks lanes, claims, or finishes jobs meanwhile.
//
// A job that holds its lane (running, unknown, or backing off) holds the new one
// instead, even beyond its limit; the others queue behind it by their arrival.
func (tx *Tx) relane(asset hostler.AssetID, from, to string) error {
	var old int64
	found, err := tx.one(`SELECT id FROM lane WHERE key = ?`, []any{from}, &old)
	if err != nil || !found {
		return err
	}
	ids, err := tx.ints(`SELECT id FROM job WHERE lane = ? AND asset = ?`, old, asset)
	if err != nil || len(ids) == 0 {
		return err
	}
	g, err := tx.openGate()
	if err != nil {
		return err
	}
	lanes, err := g.ensureLanes(map[string]int64{to: 1})
	if err != nil {
		return err
	}
	if err := g.lockLanes([]int64{old}); err != nil {
		return err
	}
	move := relaning{gate: g, from: g.lanes[old], to: g.lanes[lanes[to]], ids: ids}
	if err := move.holders(); err != nil {
		return err
	}
	if err := move.waiters(); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE job SET lane = ?, lane_key = ? WHERE id IN ?*`, move.to.id, to, ids)
	if err != nil {
		return err
	}
	return g.settle()
}

// relaning is a move of jobs between two locked lanes.
type relaning struct {
	*gate
	from, to *lane
	ids      []int64
}

// holders moves the jobs that keep holding a lane: the new one.
func (m *relaning) holders() error {
	for _, sql := range []string{
		`UPDATE running SET lane = ? WHERE id IN ?* RETURNING 1`,
		`UPDATE parked SET lane = ? WHERE id IN ?* RETURNING lane_held`,
		`UPDATE sched SET lane = ? WHERE id IN ?* RETURNING lane_held`,
	} {
		held, err := m.tx.ints(sql, m.to.id, m.ids)
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
	var moved []ticket
	for _, table := range []string{"wait", "ready"} {
		tickets, err := m.take(table, m.ids)
		if err != nil {
			return err
		}
		for i := range tickets {
			t := &tickets[i]
			m.leave(*t)
			m.to.adopt(t.queuedAt)
			t.lane, t.held = m.to.id, false
		}
		moved = append(moved, tickets...)
	}
	if len(moved) > 0 {
		// Those that wait there already may have arrived before: let settle choose.
		m.to.freed = true
	}
	m.placeAll(moved)
	return nil
}
