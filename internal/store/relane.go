package store

import (
	"slices"

	"hostler.dev/hostler"
)

// This file moves the live jobs of an asset from one device's lane to another's, when the
// asset's device key changes: jobs that run on the device, or whose outcome there is
// unknown, must keep later ones waiting under the new key too.
//
// A lane may have hundreds of thousands of jobs, and their move keeps all other changes of
// the queue waiting. So the transaction of the change moves relaneStep jobs at most. When
// there are more, it moves those that hold their lane, and closes both lanes: no further
// job starts there until [Tx.FollowRelanes] has moved the others, step by step. So no two
// jobs meet on the device meanwhile, and what was to run first still does.

// relaneStep is how many jobs of assets one transaction looks at; movesStep, of how many
// assets.
var (
	relaneStep = 500
	movesStep  = 100
)

// keyChange is a change of the device key of an asset; the keys are those of the lanes.
type keyChange struct {
	asset    hostler.AssetID
	from, to string
}

// laneMove is a row of table lane_move: the jobs of an asset, or, without one, those of the
// ad-hoc hosts at an address, which leave From, each for the lane of its device.
type laneMove struct {
	Asset   hostler.AssetID `db:"asset"`
	Address string          `db:"address"`
	From    laneID          `db:"from_lane"`
	To      laneID          `db:"to_lane"`
	ToKey   string          `db:"to_key"` // lane_key of the jobs afterwards
	After   hostler.JobID   `db:"after_id"`
}

// jobMove is the move of one job.
type jobMove struct {
	job hostler.JobID
	laneMove
}

func movesOf(jobs []jobMove) []laneMove {
	moves := make([]laneMove, len(jobs))
	for i := range jobs {
		moves[i] = jobs[i].laneMove
	}
	return moves
}

// assetJob is a live job of an asset.
type assetJob struct {
	ID    hostler.JobID   `db:"id"`
	Asset hostler.AssetID `db:"asset"`
	Lane  laneID          `db:"lane"`
}

// movedJob is a job that moves, as the tables of the queue have it.
type movedJob struct {
	ID      hostler.JobID `db:"id"`
	Lane    laneID        `db:"lane"` // the new one
	LaneKey string        `db:"lane_key"`
}

// relane moves the live jobs of assets whose device keys have changed.
//
// A job that holds its lane (running, unknown, or backing off) holds the new one
// instead, even beyond its limit; the others, and those that were ready there, queue
// behind it by their arrival.
func (tx *Tx) relane(changes []keyChange) error {
	if len(changes) == 0 {
		return nil
	}
	c, err := tx.changeQueueAlone()
	if err != nil {
		return err
	}
	assets := make([]hostler.AssetID, len(changes))
	for i, ch := range changes {
		assets[i] = ch.asset
	}
	jobs, err := query[assetJob](tx, `SELECT @cols FROM job WHERE asset IN ?* AND asset > 0 ORDER BY id LIMIT ?`,
		assets, relaneStep+1)
	if err != nil || len(jobs) == 0 {
		return err
	}
	before, err := query[laneMove](tx, `SELECT @cols FROM lane_move WHERE asset IN ?*`, assets)
	if err != nil {
		return err
	}
	moves, err := c.newMoves(changes)
	if err != nil {
		return err
	}
	if len(before) > 0 || len(jobs) > relaneStep {
		return c.relaneLater(assets, before, moves)
	}
	if err := c.move(moves, jobs); err != nil {
		return err
	}
	return c.flushMoves(moves)
}

// newMoves locks the lanes of changed keys, and returns the moves between them; none for
// a key without a lane.
func (c *queueChange) newMoves(changes []keyChange) ([]laneMove, error) {
	type keyed struct {
		ID  laneID `db:"id"`
		Key string `db:"key"`
	}
	keys := make([]string, len(changes))
	for i, ch := range changes {
		keys[i] = ch.from
	}
	old := map[string]laneID{}
	err := queryEach(c.tx, `SELECT @cols FROM lane WHERE key IN ?*`, []any{keys}, func(r *keyed) error {
		old[r.Key] = r.ID
		return nil
	})
	if err != nil {
		return nil, err
	}
	want := map[string]int64{}
	for _, ch := range changes {
		if old[ch.from] != 0 {
			want[ch.to] = 1
		}
	}
	lanes, err := c.ensureLanes(want)
	if err != nil {
		return nil, err
	}
	var moves []laneMove
	var from []laneID
	for _, ch := range changes {
		if id := old[ch.from]; id != 0 {
			moves = append(moves, laneMove{Asset: ch.asset, From: id, To: lanes[ch.to], ToKey: ch.to})
			from = append(from, id)
		}
	}
	if err := c.lockLanes(from); err != nil {
		return nil, err
	}
	for _, m := range moves {
		// A job that arrives from now on is behind all that move.
		to, from := c.lanes[m.To], c.lanes[m.From]
		to.adopt(from.ArrivedAt)
		to.use(from.Project)
	}
	return moves, nil
}

// relaneLater moves the jobs that hold a lane, closes the lanes, and leaves the other jobs
// to FollowRelanes. The assets may have moves from before: their jobs go to the newest
// lane, too.
func (c *queueChange) relaneLater(assets []hostler.AssetID, before, moves []laneMove) error {
	lanes := lanesOf(before)
	newest := map[hostler.AssetID]laneMove{}
	for _, m := range moves {
		newest[m.Asset] = m
	}
	for _, m := range before {
		if n, ok := newest[m.Asset]; ok && n.From != m.From {
			m.To, m.ToKey = n.To, n.ToKey
		}
		if m.From != m.To && newest[m.Asset].From != m.From {
			moves = append(moves, m)
		}
	}
	lanes = append(lanes, lanesOf(moves)...)
	if err := c.lockLanes(lanes); err != nil {
		return err
	}
	jobs, err := c.holders(assets, moves)
	if err != nil {
		return err
	}
	if _, err := c.tx.Exec(`DELETE FROM lane_move WHERE asset IN ?*`, assets); err != nil {
		return err
	}
	if err := insert(c.tx, "lane_move", moves); err != nil {
		return err
	}
	if err := c.setClosed(lanes); err != nil {
		return err
	}
	if err := c.move(moves, jobs); err != nil {
		return err
	}
	return c.flushMoves(moves)
}

// flushMoves ends a change whose moves are done or noted: the ready jobs of lanes that
// are closed by now, or full of jobs that moved there, wait again.
func (c *queueChange) flushMoves(moves []laneMove) error {
	var full []laneID
	for _, id := range lanesOf(moves) {
		if l := c.lanes[id]; l.Closed || l.Inflight > l.Limit {
			full = append(full, id)
		}
	}
	full, err := c.lanesWithReady(full)
	if err != nil {
		return err
	}
	if len(full) > 0 {
		ids, err := column[hostler.JobID](c.tx, `SELECT id FROM ready WHERE lane IN ?*`, full)
		if err != nil {
			return err
		}
		heads, err := c.takeReady(ids)
		if err != nil {
			return err
		}
		c.admitAll(heads)
	}
	return c.flush()
}

// lanesWithReady returns those of some lanes that may have ready jobs: the other jobs that
// hold them are not all that hold them. To look into ready takes long if it is full.
func (c *queueChange) lanesWithReady(lanes []laneID) ([]laneID, error) {
	lanes = slices.DeleteFunc(lanes, func(id laneID) bool { return c.lanes[id].Inflight == 0 })
	if len(lanes) == 0 {
		return nil, nil
	}
	holders, err := column[laneID](c.tx, `SELECT lane FROM running WHERE lane IN ?*
UNION ALL SELECT lane FROM parked WHERE lane IN ?* AND lane <> 0 AND lane_held = 1
UNION ALL SELECT lane FROM sched WHERE lane IN ?* AND lane_held = 1`, lanes, lanes, lanes)
	held := map[laneID]int64{}
	for _, id := range holders {
		held[id]++
	}
	return slices.DeleteFunc(lanes, func(id laneID) bool { return held[id] == c.lanes[id].Inflight }), err
}

func lanesOf(moves []laneMove) []laneID {
	var lanes []laneID
	for _, m := range moves {
		lanes = append(lanes, m.From, m.To)
	}
	return lanes
}

// holders finds the jobs of assets that hold, or may hold, a lane from which they move.
func (c *queueChange) holders(assets []hostler.AssetID, moves []laneMove) ([]assetJob, error) {
	from := make([]laneID, len(moves))
	for i, m := range moves {
		from[i] = m.From
	}
	ids, err := c.holdersOf(from)
	if err != nil {
		return nil, err
	}
	return query[assetJob](c.tx, `SELECT @cols FROM job WHERE id IN ?* AND asset IN ?*`, ids, assets)
}

// holdersOf finds the jobs that hold, or may hold, some lanes.
func (c *queueChange) holdersOf(lanes []laneID) ([]hostler.JobID, error) {
	var ids []hostler.JobID
	for _, sql := range []string{
		`SELECT id FROM running WHERE lane IN ?*`,
		`SELECT id FROM parked WHERE lane IN ?*`,
		`SELECT id FROM sched WHERE lane IN ?* AND lane_held = 1`,
		`SELECT id FROM ready WHERE lane IN ?*`,
	} {
		some, err := column[hostler.JobID](c.tx, sql, lanes)
		if err != nil {
			return nil, err
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

// setClosed closes the lanes that jobs have to move from or to, and opens the others.
func (c *queueChange) setClosed(lanes []laneID) error {
	_, err := c.tx.Exec(`UPDATE lane SET closed = CASE WHEN EXISTS (SELECT 1 FROM lane_move m WHERE m.from_lane = lane.id)
OR EXISTS (SELECT 1 FROM lane_move m WHERE m.to_lane = lane.id) THEN 1 ELSE 0 END WHERE id IN ?*`, lanes)
	if err != nil {
		return err
	}
	closed, err := column[laneID](c.tx, `SELECT id FROM lane WHERE id IN ?* AND closed = 1`, lanes)
	for _, id := range lanes {
		l := c.lanes[id]
		is := slices.Contains(closed, id)
		l.freed = l.freed || l.Closed && !is
		l.Closed, l.was.Closed = is, is
	}
	return err
}

// move moves those of the jobs that are in a lane from which their asset moves.
func (c *queueChange) move(moves []laneMove, jobs []assetJob) error {
	return c.moveEach(movesOfAssets(moves, jobs))
}

// movesOfAssets returns the moves of those of the jobs that are in a lane from which their
// asset moves.
func movesOfAssets(moves []laneMove, jobs []assetJob) []jobMove {
	type origin struct {
		asset hostler.AssetID
		lane  laneID
	}
	to := make(map[origin]laneMove, len(moves))
	for _, m := range moves {
		to[origin{m.Asset, m.From}] = m
	}
	var out []jobMove
	for _, j := range jobs {
		if m, ok := to[origin{j.Asset, j.Lane}]; ok {
			out = append(out, jobMove{j.ID, m})
		}
	}
	return out
}

// moveEach moves jobs between lanes that are locked.
func (c *queueChange) moveEach(moves []jobMove) error {
	if len(moves) == 0 {
		return nil
	}
	rows, ids := make([]movedJob, len(moves)), make([]hostler.JobID, len(moves))
	of := make(map[hostler.JobID]*laneMove, len(moves))
	for i := range moves {
		m := &moves[i]
		rows[i], ids[i], of[m.job] = movedJob{m.job, m.To, m.ToKey}, m.job, &m.laneMove
	}
	_, err := execRows(c.tx, `UPDATE job SET lane = v.lane, lane_key = v.lane_key FROM @rows WHERE job.id = v.id`, rows)
	if err != nil {
		return err
	}
	if err := c.moveHolders(rows, ids, of); err != nil {
		return err
	}
	return c.moveWaiting(ids, of)
}

// moveHolders moves the jobs that hold a lane: they hold the new one.
func (c *queueChange) moveHolders(rows []movedJob, ids []hostler.JobID, of map[hostler.JobID]*laneMove) error {
	type holder struct {
		ID   hostler.JobID `db:"id"`
		Held bool          `db:"held"`
	}
	for _, t := range []struct{ table, held string }{
		{"running", "1"}, {"parked", "lane_held"}, {"sched", "lane_held"},
	} {
		found, err := query[holder](c.tx, `SELECT id, `+t.held+` FROM `+t.table+` WHERE id IN ?*`, ids)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			continue
		}
		for _, h := range found {
			if m := of[h.ID]; h.Held {
				c.lanes[m.From].release()
				to := c.lanes[m.To]
				to.take()
				to.yields = to.yields || to.shared()
			}
		}
		_, err = execRows(c.tx, `UPDATE `+t.table+` SET lane = v.lane FROM @rows WHERE `+t.table+`.id = v.id`, rows)
		if err != nil {
			return err
		}
	}
	return nil
}

// moveWaiting queues the jobs that have not started behind the new lane.
func (c *queueChange) moveWaiting(ids []hostler.JobID, of map[hostler.JobID]*laneMove) error {
	var moved []entry
	for _, take := range []func([]hostler.JobID) ([]entry, error){c.takeWait, c.takeReady} {
		entries, err := take(ids)
		if err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			c.releaseLane(*e)
			to := c.lanes[of[e.ID].To]
			to.adopt(e.QueuedAt)
			// Those that wait there already may have arrived before: flush chooses.
			to.freed = true
			e.Lane, e.HoldsLane = to.ID, false
		}
		moved = append(moved, entries...)
	}
	c.admitAll(moved)
	return nil
}

// Relaning reports whether [Tx.FollowRelanes] has anything to do.
func (tx *Tx) Relaning() (bool, error) {
	return tx.exists(`SELECT asset FROM lane_move LIMIT 1`)
}

// FollowRelanes takes one step for the jobs that have to follow a change of device keys,
// and reports whether there may be more to do.
func (tx *Tx) FollowRelanes() (more bool, err error) {
	c, err := tx.changeQueueAlone()
	if err != nil {
		return false, err
	}
	moves, err := query[laneMove](tx, `SELECT @cols FROM lane_move ORDER BY asset, address, from_lane LIMIT ?`, movesStep)
	if err != nil || len(moves) == 0 {
		return false, err
	}
	moves, jobs, adhoc, err := tx.jobsToMove(moves)
	if err != nil {
		return false, err
	}
	each, err := c.hostMoves(adhoc) // first: it may create lanes
	if err != nil {
		return false, err
	}
	lanes := lanesOf(moves)
	if err := c.lockLanes(lanes); err != nil {
		return false, err
	}
	each = append(each, movesOfAssets(moves, jobs)...)
	if err := c.moveEach(each); err != nil {
		return false, err
	}
	if err := tx.endMoves(moves); err != nil {
		return false, err
	}
	if err := c.setClosed(lanes); err != nil {
		return false, err
	}
	return true, c.flushMoves(append(moves, movesOf(each)...))
}

// jobsToMove reads the next jobs of moves, relaneStep at most, and sets how far each move
// is then. It returns the moves that it came to, with the jobs of assets and those of
// ad-hoc hosts.
func (tx *Tx) jobsToMove(moves []laneMove) (_ []laneMove, jobs []assetJob, adhoc []adhocJob, err error) {
	left := relaneStep
	for i := range moves {
		m := &moves[i]
		if left <= 0 {
			return moves[:i], jobs, adhoc, nil
		}
		var n int
		var last hostler.JobID
		if m.Asset != 0 {
			some, err := query[assetJob](tx, `SELECT @cols FROM job WHERE asset = ? AND asset > 0 AND id > ?
ORDER BY id LIMIT ?`, m.Asset, m.After, left)
			if err != nil {
				return nil, nil, nil, err
			}
			if n = len(some); n > 0 {
				last = some[n-1].ID
			}
			jobs = append(jobs, some...)
		} else {
			some, err := query[adhocJob](tx, selectAdhoc+`AND t.address = ? AND t.job > ? ORDER BY t.job LIMIT ?`,
				m.Address, m.After, left)
			if err != nil {
				return nil, nil, nil, err
			}
			if n = len(some); n > 0 {
				last = some[n-1].ID
			}
			adhoc = append(adhoc, slices.DeleteFunc(some, func(j adhocJob) bool { return j.Lane != m.From })...)
		}
		m.After = 0 // it is done
		if n == left {
			m.After = last
		}
		left -= n
	}
	return moves, jobs, adhoc, nil
}

// endMoves stores how far moves are, and deletes those that are done.
func (tx *Tx) endMoves(moves []laneMove) error {
	for _, sql := range []string{
		`DELETE FROM lane_move WHERE (asset, address, from_lane) IN (SELECT v.asset, v.address, v.from_lane FROM @rows)`,
		`UPDATE lane_move SET after_id = v.after_id FROM @rows WHERE lane_move.asset = v.asset
AND lane_move.address = v.address AND lane_move.from_lane = v.from_lane`,
	} {
		done := sql[0] == 'D'
		some := slices.DeleteFunc(slices.Clone(moves), func(m laneMove) bool { return (m.After == 0) != done })
		if _, err := execRows(tx, sql, some); err != nil {
			return err
		}
	}
	return nil
}
