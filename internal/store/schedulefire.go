package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// FireRow is a fire as stored.
type FireRow struct {
	hostler.Fire
	ProjectID hostler.ProjectID
	Active    bool // its run had live jobs when a server last looked
}

// fireColumns are the columns of table schedule_fire.
type fireColumns struct {
	ID        hostler.FireID     `db:"id"`
	Schedule  hostler.ScheduleID `db:"schedule"`
	Project   hostler.ProjectID  `db:"project"`
	Name      string             `db:"name"`
	At        time.Time          `db:"at"`
	Until     time.Time          `db:"until_at"`
	Instants  int                `db:"instants"`
	More      bool               `db:"more"`
	Manual    bool               `db:"manual"`
	State     hostler.FireState  `db:"state"`
	Active    bool               `db:"active"`
	Run       hostler.RunID      `db:"run"`
	Jobs      int                `db:"jobs"`
	CreatedBy string             `db:"created_by"`
	Reason    string             `db:"reason"` // JSON, or empty
	DecidedAt time.Time          `db:"decided_at"`
}

func (c *fireColumns) row() FireRow {
	f := FireRow{ProjectID: c.Project, Active: c.Active, Fire: hostler.Fire{
		ID: c.ID, Schedule: c.Schedule, Name: c.Name, At: c.At, Count: c.Instants, More: c.More,
		Trigger: hostler.FireTimer, State: c.State, Run: c.Run, Jobs: c.Jobs, By: c.CreatedBy,
		Reason: decodeText(c.Reason), Decided: c.DecidedAt,
	}}
	if c.Manual {
		f.Trigger = hostler.FireManual
	}
	if c.Instants > 1 {
		until := c.Until
		f.Until = &until
	}
	return f
}

// ExtendFire adds an instant to the last fire of a schedule's timer if that was skipped for the
// same reason. It reports whether it was.
func (tx *Tx) ExtendFire(f FireRow) (bool, error) {
	n, err := tx.Exec(`UPDATE schedule_fire SET until_at = ?, instants = instants + 1, decided_at = ?
WHERE id = (SELECT l.id FROM schedule_fire l WHERE l.schedule = ? AND l.manual = 0 ORDER BY l.at DESC LIMIT 1)
AND state = 'skipped' AND reason = ?`, sqldb.Micros(f.At), sqldb.Micros(tx.now), f.Schedule, encodeText(f.Reason))
	return n > 0, err
}

// InsertFire records a fire. Two fires of a schedule's timer at one instant are an error
// of the database, which fails the transaction.
func (tx *Tx) InsertFire(f FireRow) (hostler.FireID, error) {
	raw, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	until := f.At
	if f.Until != nil {
		until = *f.Until
	}
	return hostler.FireID(raw), insert(tx, "schedule_fire", []fireColumns{{
		ID: hostler.FireID(raw), Schedule: f.Schedule, Project: f.ProjectID, Name: f.Name, At: f.At, Until: until,
		Instants: max(1, f.Count), More: f.More, Manual: f.Trigger == hostler.FireManual, State: f.State,
		Active: f.Active, Run: f.Run, Jobs: f.Jobs, CreatedBy: f.By, Reason: encodeText(f.Reason), DecidedAt: tx.now,
	}})
}

// settleFires is how many active runs of a schedule are looked at at once.
const settleFires = 500

// ActiveFires returns how many runs of a schedule are active, and how many fires wait for
// them. A run is active while it has jobs that have not ended, or whose outcome is
// unknown; that of a task or template until it has ended.
func (tx *Tx) ActiveFires(id hostler.ScheduleID) (active, queued int, err error) {
	if _, err := tx.Exec(`UPDATE schedule_fire SET active = 0 WHERE id IN
(SELECT f.id FROM schedule_fire f WHERE f.schedule = ? AND f.active = 1 AND f.state = 'started' ORDER BY f.id LIMIT ?)
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.run = schedule_fire.run AND j.run <> 0)
AND NOT EXISTS (SELECT 1 FROM run r WHERE r.id = schedule_fire.run AND r.ended_at = 0)`, id, settleFires); err != nil {
		return 0, 0, err
	}
	if _, err := tx.one(`SELECT count(*) FROM (SELECT 1 FROM schedule_fire
WHERE schedule = ? AND active = 1 AND state = 'started' LIMIT ?) a`, []any{id, settleFires}, &active); err != nil {
		return 0, 0, err
	}
	_, err = tx.one(`SELECT count(*) FROM schedule_fire WHERE schedule = ? AND state = 'queued'`, []any{id}, &queued)
	return active, queued, err
}

// QueuedFire returns the oldest fire of a schedule that waits for an earlier run; nil when
// there is none.
func (tx *Tx) QueuedFire(id hostler.ScheduleID) (*FireRow, error) {
	return first(tx.fires(`WHERE schedule = ? AND state = 'queued' ORDER BY at LIMIT 1`, id))
}

// EndQueuedFire records what became of a fire that waited.
func (tx *Tx) EndQueuedFire(f FireRow) error {
	_, err := tx.Exec(`UPDATE schedule_fire SET state = ?, active = ?, run = ?, jobs = ?, reason = ?, decided_at = ?
WHERE id = ? AND state = 'queued'`,
		string(f.State), f.Active, f.Run, f.Jobs, encodeText(f.Reason), sqldb.Micros(tx.now), f.ID)
	return err
}

// ReplaceFires marks the active runs of a schedule as replaced: their jobs are cancelled
// in transactions of their own; see [Tx.ReplacedRuns].
func (tx *Tx) ReplaceFires(id hostler.ScheduleID) error {
	why := hostler.Textf("a later fire of the schedule replaced the run", "计划的后一次触发取代了该次执行")
	_, err := tx.Exec(`UPDATE schedule_fire SET state = 'replaced', reason = ?
WHERE schedule = ? AND active = 1 AND state = 'started'`, encodeText(&why), id)
	return err
}

// ReplacedRun is a run whose jobs are to be cancelled.
type ReplacedRun struct {
	Fire hostler.FireID
	Run  hostler.RunID
	Jobs []hostler.JobID // some of those that are live
}

// ReplacedRuns returns up to limit runs that later fires replaced, with up to limit jobs
// of each whose cancellation is not requested yet.
func (tx *Tx) ReplacedRuns(limit int) ([]ReplacedRun, error) {
	rows, err := tx.fires(`WHERE state = 'replaced' AND active = 1 ORDER BY id LIMIT ?`, limit)
	out := make([]ReplacedRun, 0, len(rows))
	for _, f := range rows {
		r := ReplacedRun{Fire: f.ID, Run: f.Run}
		// Those with an unknown outcome stay for a person to resolve.
		r.Jobs, err = column[hostler.JobID](tx, `SELECT j.id FROM job j WHERE j.run = ? AND j.run <> 0
AND NOT EXISTS (SELECT 1 FROM running r WHERE r.id = j.id AND r.cancel_at <> 0)
AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.id = j.id) ORDER BY j.id LIMIT ?`, f.Run, limit)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, err
}

// EndReplacedRun notes that nothing of a replaced run is left to cancel.
func (tx *Tx) EndReplacedRun(id hostler.FireID) error {
	_, err := tx.Exec(`UPDATE schedule_fire SET active = 0 WHERE id = ?`, id)
	return err
}

// RunTime is how long the last runs of a schedule took on average that have a row and
// succeeded; 0 when there is none.
func (tx *Tx) RunTime(id hostler.ScheduleID) (time.Duration, error) {
	var us int64
	_, err := tx.one(`SELECT CAST(COALESCE(avg(r.ended_at - r.started_at), 0) AS BIGINT) FROM run r WHERE r.state = 'succeeded'
AND r.id IN (SELECT f.run FROM schedule_fire f WHERE f.schedule = ? AND f.run <> 0 ORDER BY f.id DESC LIMIT 10)`, []any{id}, &us)
	return time.Duration(us) * time.Microsecond, err
}

// StartedFires lists fires of a schedule since a time that made a run, newest first.
func (tx *Tx) StartedFires(id hostler.ScheduleID, since time.Time, limit int) ([]FireRow, error) {
	return tx.fires(`WHERE schedule = ? AND state = 'started' AND at >= ? ORDER BY id DESC LIMIT ?`,
		id, sqldb.Micros(since), limit)
}

// Fires lists the fires of a schedule, newest first, before an id; 0: from the newest.
func (tx *Tx) Fires(id hostler.ScheduleID, before hostler.FireID, limit int) ([]FireRow, error) {
	if before == 0 {
		before = 1<<hostler.IDBits - 1
	}
	return tx.fires(`WHERE schedule = ? AND id < ? ORDER BY id DESC LIMIT ?`, id, before, limit)
}

// DeleteFires deletes up to limit fires that were decided before a time, and whose runs
// have ended.
func (tx *Tx) DeleteFires(before time.Time, limit int) (int64, error) {
	// Ids are in the order of time, so those to delete are at the front of the key.
	return tx.Exec(`DELETE FROM schedule_fire WHERE id IN (SELECT f.id FROM schedule_fire f
WHERE f.id < ? AND f.state <> 'queued' AND (f.active = 0 OR
NOT EXISTS (SELECT 1 FROM job j WHERE j.run = f.run AND j.run <> 0)
AND NOT EXISTS (SELECT 1 FROM run r WHERE r.id = f.run AND r.ended_at = 0)) ORDER BY f.id LIMIT ?)`,
		hostler.MakeID(before.Unix(), 0), limit)
}

func (tx *Tx) fires(where string, args ...any) ([]FireRow, error) {
	cols, err := query[fireColumns](tx, `SELECT @cols FROM schedule_fire `+where, args...)
	out := make([]FireRow, len(cols))
	for i := range cols {
		out[i] = cols[i].row()
	}
	return out, err
}

// LastInstant is the latest instant of a schedule's timer that was decided; zero: none.
func (tx *Tx) LastInstant(id hostler.ScheduleID) (time.Time, error) {
	var us int64
	_, err := tx.one(`SELECT until_at FROM schedule_fire WHERE schedule = ? AND manual = 0 ORDER BY at DESC LIMIT 1`,
		[]any{id}, &us)
	return sqldb.Time(us), err
}
