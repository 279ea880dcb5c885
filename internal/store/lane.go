package store

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"hostler.dev/hostler/internal/sqldb"
)

// pauseLock is the advisory lock that every transaction shares which moves jobs
// between the tables of the queue, claims included. A transaction that changes a
// queue, or moves the jobs of an asset to another lane, holds it exclusively:
//
//   - a promotion that read "not paused" must not commit after the pause demoted
//     the queue's lane heads, or it blocks a lane that other queues share;
//   - a claim that read "not paused" must not start a job after the pause was
//     acknowledged;
//   - a job must not enter a lane while the jobs of that lane move to another.
const pauseLock = 1

// AgePerStep is how much waiting outweighs one step of priority: a job of
// priority 6 that has waited an hour longer goes before one of priority 5.
// Ranks are fixed when a job is queued, so no job can be overtaken for ever.
const AgePerStep = time.Hour

// ownerHint is how long a ready job waits for the worker that holds its lane's
// connection before any worker may take it.
const ownerHint = 200 * time.Millisecond

// rankOf orders the ready jobs of a queue; the lowest goes first.
func rankOf(queuedAt int64, prio int64) int64 {
	return queuedAt + (prio-1)*AgePerStep.Microseconds()
}

// ticket is what a live job carries from one table of the queue to another.
type ticket struct {
	id       int64
	queue    string
	lane     int64 // 0: none
	prio     int64
	attempt  int64
	losses   int64
	fence    int64
	queuedAt int64
	held     bool // it holds its lane
}

func ticketIDs(tickets []ticket) []int64 {
	ids := make([]int64, len(tickets))
	for i := range tickets {
		ids[i] = tickets[i].id
	}
	return ids
}

// lane is a locked row of table lane. Changes are written once, by settle.
type lane struct {
	laneRow
	was   laneRow // as read
	freed bool    // capacity was given back in this transaction
}

type laneRow struct{ id, lim, inflight, owner, arrivedAt int64 }

func (l *lane) take()    { l.inflight++ }
func (l *lane) release() { l.inflight--; l.freed = true }

// arrive returns the arrival time of a job that queues behind the lane: at, or
// one microsecond after the previous arrival when a clock is behind. The lane is
// locked, so jobs of one lane are ordered as they were committed, whatever the
// clocks of the servers show (a hybrid logical clock; Kulkarni et al., 2014).
func (l *lane) arrive(at int64) int64 {
	l.arrivedAt = max(at, l.arrivedAt+1)
	return l.arrivedAt
}

// adopt lets a job keep the arrival time that another lane gave it.
func (l *lane) adopt(arrivedAt int64) { l.arrivedAt = max(l.arrivedAt, arrivedAt) }

// gate is what a transaction that fills the queue knows: the queues, and the
// lanes that it has locked.
type gate struct {
	tx     *Tx
	queues map[string]queueRow
	paused []string
	lanes  map[int64]*lane
	live   map[int64]bool // live workers; read when first needed
	ready  [][]any
	wait   [][]any
}

type queueRow struct {
	paused        bool
	lim, maxDepth int64
}

// gate starts a change of the queue: it shares the pause lock and reads the
// queues.
func (tx *Tx) gate() (*gate, error) {
	if err := tx.c.Lock(tx.ctx, pauseLock, true); err != nil {
		return nil, err
	}
	return tx.openGate()
}

// soleGate is gate for whoever pauses, resumes or moves jobs to another lane.
func (tx *Tx) soleGate() (*gate, error) {
	if err := tx.c.Lock(tx.ctx, pauseLock, false); err != nil {
		return nil, err
	}
	return tx.openGate()
}

func (tx *Tx) openGate() (*gate, error) {
	g := &gate{tx: tx, queues: map[string]queueRow{}, lanes: map[int64]*lane{}}
	err := tx.each(`SELECT name, paused, lim, max_depth FROM queue`, nil, func(r sqldb.Rows) error {
		var name string
		var paused int64
		var q queueRow
		if err := r.Scan(&name, &paused, &q.lim, &q.maxDepth); err != nil {
			return err
		}
		if q.paused = paused != 0; q.paused {
			g.paused = append(g.paused, name)
		}
		g.queues[name] = q
		return nil
	})
	return g, err
}

// lockLanes locks the lanes with these ids, in the order of their ids.
func (g *gate) lockLanes(ids []int64) error {
	ids = slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return id == 0 || g.lanes[id] != nil })
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return g.tx.each(`SELECT id, lim, inflight, owner, arrived_at FROM lane WHERE id IN ?* ORDER BY id FOR UPDATE`,
		[]any{slices.Compact(ids)}, func(r sqldb.Rows) error {
			l := &lane{}
			if err := r.Scan(&l.id, &l.lim, &l.inflight, &l.owner, &l.arrivedAt); err != nil {
				return err
			}
			l.was = l.laneRow
			g.lanes[l.id] = l
			return nil
		})
}

// ensureLanes locks the lanes with these keys, making those that are missing,
// and returns their ids by key. The newest limit of a key wins.
func (g *gate) ensureLanes(want map[string]int64) (map[string]int64, error) {
	ids := make(map[string]int64, len(want))
	if len(want) == 0 {
		return ids, nil
	}
	keys := slices.Sorted(maps.Keys(want))
	if err := g.lockKeys(keys, want, ids); err != nil {
		return nil, err
	}
	// A lane that a sweep deletes between our insert and our lock is made again.
	for len(ids) < len(want) {
		missing := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return ids[k] != 0 })
		if err := g.makeLanes(missing, want); err != nil {
			return nil, err
		}
		if err := g.lockKeys(missing, want, ids); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

func (g *gate) lockKeys(keys []string, want, ids map[string]int64) error {
	return g.tx.each(`SELECT id, key, lim, inflight, owner, arrived_at FROM lane WHERE key IN ?* ORDER BY id FOR UPDATE`,
		[]any{keys}, func(r sqldb.Rows) error {
			l := &lane{}
			var key string
			if err := r.Scan(&l.id, &key, &l.lim, &l.inflight, &l.owner, &l.arrivedAt); err != nil {
				return err
			}
			l.was = l.laneRow
			l.lim = want[key]
			l.freed = l.lim > l.was.lim
			g.lanes[l.id] = l
			ids[key] = l.id
			return nil
		})
}

func (g *gate) makeLanes(keys []string, want map[string]int64) error {
	ids, err := g.tx.c.NewIDs(g.tx.ctx, len(keys))
	if err != nil {
		return err
	}
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{ids[i], k, want[k], sqldb.Micros(g.tx.now)}
	}
	_, err = g.tx.c.ExecRows(g.tx.ctx,
		`INSERT INTO lane (id, key, lim, used_at) SELECT v.id, v.key, v.lim, v.used_at FROM @rows WHERE true ON CONFLICT (key) DO NOTHING`,
		[]sqldb.Col{{Name: "id", Type: sqldb.Int}, {Name: "key", Type: sqldb.Text}, {Name: "lim", Type: sqldb.Int}, {Name: "used_at", Type: sqldb.Int}}, rows)
	return err
}

// arrive returns when a job arrives in the queue, at the earliest at: the time by
// which jobs of one priority are ordered. Its lane must be locked.
func (g *gate) arrive(laneID, at int64) int64 {
	if l := g.lanes[laneID]; l != nil {
		return l.arrive(at)
	}
	return at
}

// place queues a job: into ready when it holds its lane or the lane is free,
// into wait otherwise. Its lane must be locked, and know when the job arrived.
func (g *gate) place(t ticket) {
	l := g.lanes[t.lane]
	switch {
	case t.lane == 0:
		g.toReady(t, nil)
	case t.held && !g.queues[t.queue].paused:
		g.toReady(t, l)
	case t.held:
		l.release()
		g.toWait(t)
	case g.queues[t.queue].paused || l.inflight >= l.lim || l.freed:
		// A lane with capacity has nobody waiting (I1), unless that capacity is
		// new: then fill chooses, so that nobody jumps the line.
		g.toWait(t)
	default:
		l.take()
		g.toReady(t, l)
	}
}

// readyOwner and readyFreeAt are the hint's places in a row of ready.
const readyOwner, readyFreeAt = 1, 10

func (g *gate) toReady(t ticket, l *lane) {
	owner := int64(0)
	if l != nil {
		owner = l.owner
	}
	g.ready = append(g.ready, []any{
		t.queue, owner, rankOf(t.queuedAt, t.prio), t.id, t.lane, t.prio,
		t.attempt, t.losses, t.fence, t.queuedAt, int64(0),
	})
}

// hint keeps ready jobs for the worker that holds their lane's connection, for a
// moment: only for a live one, and only when there is another to keep it from.
func (g *gate) hint(rows [][]any) error {
	for _, row := range rows {
		owner := row[readyOwner].(int64)
		if owner == 0 {
			continue
		}
		if err := g.readLive(); err != nil {
			return err
		}
		if len(g.live) > 1 && g.live[owner] {
			row[readyFreeAt] = sqldb.Micros(g.tx.now.Add(ownerHint))
		} else {
			row[readyOwner] = int64(0)
		}
	}
	return nil
}

func (g *gate) readLive() error {
	if g.live != nil {
		return nil
	}
	ids, err := g.tx.ints(`SELECT id FROM worker WHERE dead = 0 AND draining = 0`)
	g.live = make(map[int64]bool, len(ids))
	for _, id := range ids {
		g.live[id] = true
	}
	return err
}

// placeAll queues jobs that come at the same moment: the better ranked first, so
// that the order in which they were found gives nobody a lane.
func (g *gate) placeAll(tickets []ticket) {
	slices.SortFunc(tickets, func(a, b ticket) int {
		return cmp.Or(cmp.Compare(a.prio, b.prio), cmp.Compare(a.queuedAt, b.queuedAt), cmp.Compare(a.id, b.id))
	})
	for _, t := range tickets {
		g.place(t)
	}
}

func (g *gate) toWait(t ticket) {
	g.wait = append(g.wait, []any{
		t.lane, t.prio, t.queuedAt, t.id, t.queue, t.attempt, t.losses, t.fence,
	})
}

// leave gives back the lane that an ended or departing job held.
func (g *gate) leave(t ticket) {
	if l := g.lanes[t.lane]; l != nil && t.held {
		l.release()
	}
}

var (
	readyCols = []sqldb.Col{
		{Name: "queue", Type: sqldb.Text},
		{Name: "owner", Type: sqldb.Int},
		{Name: "rank", Type: sqldb.Int},
		{Name: "id", Type: sqldb.Int},
		{Name: "lane", Type: sqldb.Int},
		{Name: "prio", Type: sqldb.Int},
		{Name: "attempt", Type: sqldb.Int},
		{Name: "losses", Type: sqldb.Int},
		{Name: "fence", Type: sqldb.Int},
		{Name: "queued_at", Type: sqldb.Int},
		{Name: "free_at", Type: sqldb.Int},
	}
	waitCols = []sqldb.Col{
		{Name: "lane", Type: sqldb.Int},
		{Name: "prio", Type: sqldb.Int},
		{Name: "queued_at", Type: sqldb.Int},
		{Name: "id", Type: sqldb.Int},
		{Name: "queue", Type: sqldb.Text},
		{Name: "attempt", Type: sqldb.Int},
		{Name: "losses", Type: sqldb.Int},
		{Name: "fence", Type: sqldb.Int},
	}
)

// settle writes what was placed, promotes the heads of lanes that have capacity
// again, and writes the lanes. It is the last step of every change.
func (g *gate) settle() error {
	if err := g.flushWait(); err != nil {
		return err
	}
	if err := g.fill(); err != nil {
		return err
	}
	if err := g.flushReady(); err != nil {
		return err
	}
	return g.writeLanes()
}

func (g *gate) flushWait() error {
	rows := g.wait
	g.wait = nil
	return g.insert(`INSERT INTO wait (lane, prio, queued_at, id, queue, attempt, losses, fence)
SELECT v.lane, v.prio, v.queued_at, v.id, v.queue, v.attempt, v.losses, v.fence FROM @rows`, waitCols, rows)
}

func (g *gate) flushReady() error {
	rows := g.ready
	g.ready = nil
	if err := g.hint(rows); err != nil {
		return err
	}
	g.tx.notifyWork(len(rows) > 0)
	return g.insert(`INSERT INTO ready (queue, owner, rank, id, lane, prio, attempt, losses, fence, queued_at, free_at)
SELECT v.queue, v.owner, v.rank, v.id, v.lane, v.prio, v.attempt, v.losses, v.fence, v.queued_at, v.free_at FROM @rows`, readyCols, rows)
}

func (g *gate) insert(sql string, cols []sqldb.Col, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := g.tx.c.ExecRows(g.tx.ctx, sql, cols, rows)
	return err
}

// fill promotes waiting jobs of the lanes whose capacity grew. The lanes are
// locked by an earlier statement, so this one sees every job that was committed
// behind them (the stranded-lane race).
func (g *gate) fill() error {
	var single []int64
	for _, id := range slices.Sorted(maps.Keys(g.lanes)) {
		l := g.lanes[id]
		free := l.lim - l.inflight
		switch {
		case !l.freed || free <= 0:
		case free == 1:
			single = append(single, id)
		default:
			if err := g.promote(waitHeadsOfLane, []any{id}, free); err != nil {
				return err
			}
		}
	}
	if len(single) == 0 {
		return nil
	}
	return g.promote(waitHeadOfLanes, []any{single}, 0)
}

const waitFields = `w.id, w.queue, w.lane, w.prio, w.attempt, w.losses, w.fence, w.queued_at`

// The heads of lanes, with and without queues that are paused.
var (
	waitHeadOfLanes = [2]string{
		`SELECT ` + waitFields + ` FROM lane l JOIN wait w ON w.id =
(SELECT x.id FROM wait x WHERE x.lane = l.id ORDER BY x.prio, x.queued_at, x.id LIMIT 1)
WHERE l.id IN ?*`,
		`SELECT ` + waitFields + ` FROM lane l JOIN wait w ON w.id =
(SELECT x.id FROM wait x WHERE x.lane = l.id AND NOT (x.queue IN ?*) ORDER BY x.prio, x.queued_at, x.id LIMIT 1)
WHERE l.id IN ?*`,
	}
	waitHeadsOfLane = [2]string{
		`SELECT ` + waitFields + ` FROM wait w WHERE w.lane = ? ORDER BY w.prio, w.queued_at, w.id LIMIT ?`,
		`SELECT ` + waitFields + ` FROM wait w WHERE w.lane = ? AND NOT (w.queue IN ?*) ORDER BY w.prio, w.queued_at, w.id LIMIT ?`,
	}
)

// promote moves the jobs that one of the queries above selects from wait to
// ready. limit is the last parameter of waitHeadsOfLane; 0 for the other.
func (g *gate) promote(query [2]string, args []any, limit int64) error {
	sql := query[0]
	if len(g.paused) > 0 {
		sql = query[1]
		if limit > 0 {
			args = append(args, g.paused)
		} else {
			args = append([]any{g.paused}, args...)
		}
	}
	if limit > 0 {
		args = append(args, limit)
	}
	var ids []int64
	err := g.tx.each(sql, args, func(r sqldb.Rows) error {
		t := ticket{held: true}
		if err := r.Scan(&t.id, &t.queue, &t.lane, &t.prio, &t.attempt, &t.losses, &t.fence, &t.queuedAt); err != nil {
			return err
		}
		l := g.lanes[t.lane]
		l.take()
		g.toReady(t, l)
		ids = append(ids, t.id)
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	_, err = g.tx.Exec(`DELETE FROM wait WHERE id IN ?*`, ids)
	return err
}

// writeLanes writes the lanes whose row differs from before; a lane that went
// from one job to the next costs no write.
func (g *gate) writeLanes() error {
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(g.lanes)) {
		if l := g.lanes[id]; l.laneRow != l.was {
			rows = append(rows, []any{l.id, l.lim, l.inflight, l.owner, l.arrivedAt, sqldb.Micros(g.tx.now)})
			l.was = l.laneRow
		}
	}
	return g.insert(`UPDATE lane SET lim = v.lim, inflight = v.inflight, owner = v.owner, arrived_at = v.arrived_at, used_at = v.used_at
FROM @rows WHERE lane.id = v.id`, sqldb.Ints("id", "lim", "inflight", "owner", "arrived_at", "used_at"), rows)
}

// StrandedLanes lists up to limit lanes that have capacity and waiting jobs.
// There should be none (I1). It looks at every lane: use a View, so that nobody
// waits for it.
func (tx *Tx) StrandedLanes(limit int) ([]int64, error) {
	return tx.ints(`SELECT l.id FROM lane l WHERE l.inflight < l.lim AND EXISTS
(SELECT 1 FROM wait w JOIN queue q ON q.name = w.queue WHERE w.lane = l.id AND q.paused = 0) ORDER BY l.id LIMIT ?`, limit)
}

// SweepLanes promotes what stranded lanes, if they still have capacity, have left
// waiting, and deletes up to limit lanes that nothing has used for a day.
func (tx *Tx) SweepLanes(stranded []int64, limit int) (promoted, deleted int, err error) {
	g, err := tx.gate()
	if err != nil {
		return 0, 0, err
	}
	if err := g.lockLanes(stranded); err != nil {
		return 0, 0, err
	}
	for _, l := range g.lanes {
		l.freed = true
	}
	if err := g.fill(); err != nil {
		return 0, 0, err
	}
	promoted = len(g.ready)
	if err := g.settle(); err != nil {
		return 0, 0, err
	}
	deleted, err = tx.deleteIdleLanes(limit)
	return promoted, deleted, err
}

func (tx *Tx) deleteIdleLanes(limit int) (int, error) {
	old := sqldb.Micros(tx.now.Add(-24 * time.Hour))
	idle, err := tx.ints(`SELECT id FROM lane WHERE inflight = 0 AND used_at < ? ORDER BY id LIMIT ? FOR UPDATE SKIP LOCKED`, old, limit)
	if err != nil || len(idle) == 0 {
		return 0, err
	}
	// A later statement, under the lock: an enqueue that made a job of the lane
	// before we had it is seen here; one after us will make the lane anew.
	n, err := tx.Exec(`DELETE FROM lane WHERE id IN ?* AND NOT EXISTS (SELECT 1 FROM job j WHERE j.lane = lane.id)`, idle)
	return int(n), err
}

// ints runs a query for one integer column.
func (tx *Tx) ints(sql string, args ...any) ([]int64, error) {
	var out []int64
	err := tx.each(sql, args, func(r sqldb.Rows) error {
		var v int64
		if err := r.Scan(&v); err != nil {
			return err
		}
		out = append(out, v)
		return nil
	})
	return out, err
}
