package store

import (
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// QueueSettings are the settings of a queue to change; nil fields stay.
type QueueSettings struct {
	Paused   *bool
	Limit    *int
	MaxDepth *int
}

// SetQueue creates or changes a queue and returns it. Pausing moves its lane heads
// back to wait, so that they do not block lanes that other queues share; resuming
// promotes them again.
func (tx *Tx) SetQueue(name string, c QueueSettings) (hostler.Queue, error) {
	change, err := tx.changeQueueAlone()
	if err != nil {
		return hostler.Queue{}, err
	}
	was := change.queues[name]
	is := was
	if c.Paused != nil {
		is.Paused = *c.Paused
	}
	if c.Limit != nil {
		is.Limit = int64(*c.Limit)
	}
	if c.MaxDepth != nil {
		is.MaxDepth = int64(*c.MaxDepth)
	}
	_, err = tx.Exec(`INSERT INTO queue (name, paused, lim, max_depth, updated_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, lim = excluded.lim, max_depth = excluded.max_depth,
updated_at = excluded.updated_at`,
		name, is.Paused, is.Limit, is.MaxDepth, sqldb.Micros(tx.now))
	if err != nil {
		return hostler.Queue{}, err
	}
	// Read the queues again: the change below must know the new settings.
	if change, err = tx.readQueues(); err != nil {
		return hostler.Queue{}, err
	}
	switch {
	case is.Paused && !was.Paused:
		err = change.demote(name)
	case !is.Paused && was.Paused:
		err = change.resume(name)
	}
	if err != nil {
		return hostler.Queue{}, err
	}
	// Jobs without a lane stay in ready while a queue is paused: a resumed queue, or a
	// wider limit, lets workers claim them now.
	tx.notifyWork(!is.Paused)
	qs, err := tx.listQueues(name)
	if err != nil {
		return hostler.Queue{}, err
	}
	if len(qs) != 1 {
		return hostler.Queue{}, fmt.Errorf("queue %q: written, not found", name)
	}
	return qs[0], nil
}

// demote moves the lane heads of a queue that was paused from ready to wait.
func (c *queueChange) demote(queue string) error {
	lanes, err := column[laneID](c.tx, `SELECT DISTINCT lane FROM ready WHERE queue = ? AND lane <> 0`, queue)
	if err != nil {
		return err
	}
	if err := c.lockLanes(lanes); err != nil {
		return err
	}
	heads, err := holding(query[entry](c.tx, `DELETE FROM ready WHERE queue = ? AND lane <> 0 RETURNING @cols`, queue))
	if err != nil {
		return err
	}
	c.admitAll(heads)
	return c.flush()
}

// resume promotes the waiting jobs of a queue that was resumed, where their lanes have
// capacity.
func (c *queueChange) resume(queue string) error {
	lanes, err := column[laneID](c.tx, `SELECT DISTINCT lane FROM wait WHERE queue = ?`, queue)
	if err != nil {
		return err
	}
	if err := c.lockLanes(lanes); err != nil {
		return err
	}
	for _, l := range c.lanes {
		l.freed = true
	}
	return c.flush()
}

// Queues lists every queue by name with its counts.
func (tx *Tx) Queues() ([]hostler.Queue, error) { return tx.listQueues("") }

// listQueues lists one queue, or all when name is empty.
func (tx *Tx) listQueues(name string) ([]hostler.Queue, error) {
	type listed struct {
		queueRow
		UpdatedAt time.Time `db:"updated_at"`
	}
	rows, err := query[listed](tx, `SELECT @cols FROM queue WHERE name = ? OR ? = '' ORDER BY name`, name, name)
	if err != nil {
		return nil, err
	}
	var out []hostler.Queue
	at := map[string]int{}
	for _, q := range rows {
		at[q.Name] = len(out)
		out = append(out, hostler.Queue{
			Name: q.Name, Paused: q.Paused, Limit: int(q.Limit), MaxDepth: int(q.MaxDepth), UpdatedAt: q.UpdatedAt,
		})
	}
	for _, c := range []struct {
		sql string
		add func(q *hostler.Queue, n *queueCount)
	}{
		{`SELECT queue, count(*), min(queued_at) FROM ready GROUP BY queue`, func(q *hostler.Queue, n *queueCount) {
			q.Queued += n.N
			q.OldestWait = max(0, tx.now.Sub(n.Oldest).Seconds())
		}},
		{`SELECT queue, count(*), 0 FROM wait GROUP BY queue`, func(q *hostler.Queue, n *queueCount) { q.Queued += n.N }},
		{`SELECT queue, count(*), 0 FROM running GROUP BY queue`, func(q *hostler.Queue, n *queueCount) { q.Running = n.N }},
	} {
		err := queryEach(tx, c.sql, nil, func(n *queueCount) error {
			if i, ok := at[n.Queue]; ok {
				c.add(&out[i], n)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// queueCount is a count of the jobs of one queue.
type queueCount struct {
	Queue  string    `db:"queue"`
	N      int       `db:"n"`
	Oldest time.Time `db:"oldest"`
}
