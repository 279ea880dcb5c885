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

// SetQueue creates or changes a queue and returns it. From its commit on, no job of a
// paused queue starts. Its lanes follow a pause or a resume in steps; see pause.go.
func (tx *Tx) SetQueue(name string, set QueueSettings) (hostler.Queue, error) {
	c, err := tx.changeQueueAlone(name)
	if err != nil {
		return hostler.Queue{}, err
	}
	was := c.queues[name]
	is := was
	is.Name = name
	if set.Paused != nil {
		is.Paused = *set.Paused
	}
	if set.Limit != nil {
		is.Limit = int64(*set.Limit)
	}
	if set.MaxDepth != nil {
		is.MaxDepth = int64(*set.MaxDepth)
	}
	if is.Paused != was.Paused {
		if is.LanesPending, err = tx.setPaused(is); err != nil {
			return hostler.Queue{}, err
		}
	}
	if err := tx.writeQueue(is); err != nil {
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

// setPaused pauses or resumes a queue and takes the first step for its lanes. It
// reports whether there may be more to do.
func (tx *Tx) setPaused(q queueRow) (more bool, err error) {
	if err := tx.writeQueue(q); err != nil {
		return false, err
	}
	// Read the queues again: the step must know the new setting.
	c, err := tx.readQueues()
	if err != nil {
		return false, err
	}
	if q.Paused {
		return c.followPause(q.Name)
	}
	return c.followResume(q.Name)
}

func (tx *Tx) writeQueue(q queueRow) error {
	_, err := tx.Exec(`INSERT INTO queue (name, paused, lim, max_depth, lanes_pending, updated_at) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, lim = excluded.lim, max_depth = excluded.max_depth,
lanes_pending = excluded.lanes_pending, updated_at = excluded.updated_at`,
		q.Name, q.Paused, q.Limit, q.MaxDepth, q.LanesPending, sqldb.Micros(tx.now))
	return err
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
	grants, err := tx.grants(name)
	if err != nil {
		return nil, err
	}
	queued, err := tx.queuedByQueue()
	if err != nil {
		return nil, err
	}
	var out []hostler.Queue
	at := map[string]int{}
	for _, q := range rows {
		at[q.Name] = len(out)
		out = append(out, hostler.Queue{
			Name: q.Name, Paused: q.Paused, Limit: int(q.Limit), MaxDepth: int(q.MaxDepth), UpdatedAt: q.UpdatedAt,
			Projects: grants[q.Name], Queued: queued[q.Name],
		})
	}
	running, err := tx.runningByQueue()
	if err != nil {
		return nil, err
	}
	for name, n := range running {
		if i, ok := at[name]; ok {
			out[i].Running = int(n)
		}
	}
	oldest, err := tx.oldestReady(0)
	for name, since := range oldest {
		if i, ok := at[name]; ok {
			out[i].OldestWait = max(0, tx.now.Sub(since).Seconds())
		}
	}
	return out, err
}

// grants returns the projects that may use a queue, by name; of all queues when it is
// empty. Those that are open to all are left out.
func (tx *Tx) grants(queue string) (map[string][]string, error) {
	type grant struct {
		Queue   string `db:"g.queue"`
		Project string `db:"p.name"`
	}
	out := map[string][]string{}
	err := queryEach(tx, `SELECT @cols FROM queue_grant g JOIN project p ON p.id = g.project
WHERE g.queue = ? OR ? = '' ORDER BY g.queue, p.name`, []any{queue, queue}, func(g *grant) error {
		out[g.Queue] = append(out[g.Queue], g.Project)
		return nil
	})
	return out, err
}
