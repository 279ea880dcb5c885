package store

import (
	"fmt"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// QueueChange is what to change of a queue; nil fields stay.
type QueueChange struct {
	Paused   *bool
	Limit    *int
	MaxDepth *int
}

// SetQueue makes or changes a queue and returns it. Pausing puts its lane heads
// back to waiting, so that they do not block lanes that other queues share;
// resuming lets them pass again.
func (tx *Tx) SetQueue(name string, c QueueChange) (hostler.Queue, error) {
	g, err := tx.soleGate()
	if err != nil {
		return hostler.Queue{}, err
	}
	was := g.queues[name]
	is := was
	if c.Paused != nil {
		is.paused = *c.Paused
	}
	if c.Limit != nil {
		is.lim = int64(*c.Limit)
	}
	if c.MaxDepth != nil {
		is.maxDepth = int64(*c.MaxDepth)
	}
	_, err = tx.Exec(`INSERT INTO queue (name, paused, lim, max_depth, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, lim = excluded.lim, max_depth = excluded.max_depth, updated_at = excluded.updated_at`,
		name, bit(is.paused), is.lim, is.maxDepth, sqldb.Micros(tx.now))
	if err != nil {
		return hostler.Queue{}, err
	}
	// What the gate knows must be what now holds.
	if g, err = tx.openGate(); err != nil {
		return hostler.Queue{}, err
	}
	switch {
	case is.paused && !was.paused:
		err = g.demote(name)
	case !is.paused && was.paused:
		err = g.readmit(name)
	}
	if err != nil {
		return hostler.Queue{}, err
	}
	// Jobs without lane stand in ready all along: a resumed queue, or a wider
	// limit, lets them go now.
	tx.notifyWork(!is.paused)
	qs, err := tx.queues(name)
	if err != nil {
		return hostler.Queue{}, err
	}
	if len(qs) != 1 {
		return hostler.Queue{}, fmt.Errorf("queue %q: written, not found", name)
	}
	return qs[0], nil
}

// demote takes the lane heads of a paused queue out of ready, back to the front
// of their lanes, and lets jobs of other queues pass.
func (g *gate) demote(queue string) error {
	lanes, err := g.tx.ints(`SELECT DISTINCT lane FROM ready WHERE queue = ? AND lane <> 0`, queue)
	if err != nil {
		return err
	}
	if err := g.lockLanes(lanes); err != nil {
		return err
	}
	heads, err := g.takeBy(`DELETE FROM ready WHERE queue = ? AND lane <> 0 RETURNING id, queue, lane, prio, attempt, losses, fence, queued_at, 1`, queue)
	if err != nil {
		return err
	}
	g.placeAll(heads)
	return g.settle()
}

// readmit lets the lanes of a resumed queue move again.
func (g *gate) readmit(queue string) error {
	lanes, err := g.tx.ints(`SELECT DISTINCT lane FROM wait WHERE queue = ?`, queue)
	if err != nil {
		return err
	}
	if err := g.lockLanes(lanes); err != nil {
		return err
	}
	for _, l := range g.lanes {
		l.freed = true
	}
	return g.settle()
}

// Queues lists every queue by name with its counts.
func (tx *Tx) Queues() ([]hostler.Queue, error) { return tx.queues("") }

// queues lists one queue, or all when name is empty.
func (tx *Tx) queues(name string) ([]hostler.Queue, error) {
	var out []hostler.Queue
	at := map[string]int{}
	err := tx.each(`SELECT name, paused, lim, max_depth, updated_at FROM queue WHERE name = ? OR ? = '' ORDER BY name`, []any{name, name}, func(r sqldb.Rows) error {
		var q hostler.Queue
		var paused, updated int64
		if err := r.Scan(&q.Name, &paused, &q.Limit, &q.MaxDepth, &updated); err != nil {
			return err
		}
		q.Paused, q.UpdatedAt = paused != 0, sqldb.Time(updated)
		at[q.Name] = len(out)
		out = append(out, q)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, c := range []struct {
		sql string
		add func(q *hostler.Queue, n, oldest int64)
	}{
		{`SELECT queue, count(*), min(queued_at) FROM ready GROUP BY queue`, func(q *hostler.Queue, n, oldest int64) {
			q.Queued += int(n)
			q.OldestWait = max(0, tx.now.Sub(sqldb.Time(oldest)).Seconds())
		}},
		{`SELECT queue, count(*), 0 FROM wait GROUP BY queue`, func(q *hostler.Queue, n, _ int64) { q.Queued += int(n) }},
		{`SELECT queue, count(*), 0 FROM running GROUP BY queue`, func(q *hostler.Queue, n, _ int64) { q.Running = int(n) }},
	} {
		err := tx.each(c.sql, nil, func(r sqldb.Rows) error {
			var queue string
			var n, oldest int64
			if err := r.Scan(&queue, &n, &oldest); err != nil {
				return err
			}
			if i, ok := at[queue]; ok {
				c.add(&out[i], n, oldest)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
