package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var scheduleWord = hostler.Text{EN: "schedule", ZH: "计划"}

// ScheduleRow is a schedule as stored.
type ScheduleRow struct {
	hostler.Schedule
	ProjectID hostler.ProjectID
	OwnerID   hostler.UserID
	OwnerKey  hostler.KeyID
	NextAt    time.Time // the first instant that is not decided; zero: none
	LookAt    time.Time // when a server looks at it; zero: never
	// Blocked is why the fire that is due cannot run for now.
	Blocked *hostler.Text
	// SlowedAt is since when it fires less often because the workers are loaded; PaceAt when
	// that changed last.
	SlowedAt, PaceAt time.Time
}

// scheduleColumns are the columns of table schedule.
type scheduleColumns struct {
	ID        hostler.ScheduleID `db:"id"`
	Project   hostler.ProjectID  `db:"project"`
	Name      string             `db:"name"`
	Enabled   bool               `db:"enabled"`
	Spec      []byte             `db:"spec,text"` // what has no column of its own, as JSON
	Owner     hostler.UserID     `db:"owner"`
	OwnerKey  hostler.KeyID      `db:"owner_key"`
	NextAt    time.Time          `db:"next_at"`
	LookAt    time.Time          `db:"look_at"`
	Problem   string             `db:"problem"` // JSON, or empty
	Blocked   string             `db:"blocked"` // likewise
	SlowedAt  time.Time          `db:"slowed_at"`
	PaceAt    time.Time          `db:"pace_at"`
	CreatedAt time.Time          `db:"created_at"`
	UpdatedAt time.Time          `db:"updated_at"`
}

func (s *ScheduleRow) columns() (scheduleColumns, error) {
	v := s.Schedule
	v.ID, v.Name, v.Project, v.Owner, v.Enabled, v.Next, v.Problem = 0, "", "", "", false, nil, nil
	v.CreatedAt, v.UpdatedAt, v.Slowed = time.Time{}, time.Time{}, nil
	spec, err := json.Marshal(v)
	if err != nil {
		return scheduleColumns{}, fmt.Errorf("encode a schedule: %w", err)
	}
	return scheduleColumns{
		ID: s.ID, Project: s.ProjectID, Name: s.Name, Enabled: s.Enabled, Spec: spec, Owner: s.OwnerID,
		OwnerKey: s.OwnerKey, NextAt: s.NextAt, LookAt: s.LookAt, Problem: encodeText(s.Problem),
		Blocked: encodeText(s.Blocked), SlowedAt: s.SlowedAt, PaceAt: s.PaceAt,
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt,
	}, nil
}

func encodeText(t *hostler.Text) string {
	if t == nil {
		return ""
	}
	b, err := json.Marshal(t)
	if err != nil {
		return "" // two strings are always valid
	}
	return string(b)
}

// decodeText reads a stored text. One that cannot be read is shown as it is.
func decodeText(s string) *hostler.Text {
	if s == "" {
		return nil
	}
	var t hostler.Text
	if json.Unmarshal([]byte(s), &t) != nil {
		t = hostler.Text{EN: s, ZH: s}
	}
	return &t
}

// row is the schedule. One that cannot be read is shown as paused, with the reason.
func (c *scheduleColumns) row(project, owner string) ScheduleRow {
	s := ScheduleRow{ProjectID: c.Project, OwnerID: c.Owner, OwnerKey: c.OwnerKey, NextAt: c.NextAt, LookAt: c.LookAt}
	s.Blocked, s.SlowedAt, s.PaceAt = decodeText(c.Blocked), c.SlowedAt, c.PaceAt
	enabled, problem := c.Enabled, decodeText(c.Problem)
	if err := json.Unmarshal(c.Spec, &s.Schedule); err != nil {
		why := hostler.Textf("the schedule cannot be read: set or delete it", "无法读取该计划：请重新设置或删除")
		s.Schedule, enabled, problem = hostler.Schedule{}, false, &why
	}
	s.ID, s.Name, s.Project, s.Owner, s.Enabled, s.Problem = c.ID, c.Name, project, owner, enabled, problem
	s.CreatedAt, s.UpdatedAt = c.CreatedAt, c.UpdatedAt
	if slowed := c.SlowedAt; !slowed.IsZero() {
		s.Slowed = &slowed
	}
	if enabled && !c.NextAt.IsZero() {
		next := c.NextAt
		s.Next = &next
	}
	return s
}

// InsertSchedule creates a schedule. CodeConflict: the name is taken.
func (tx *Tx) InsertSchedule(s ScheduleRow) (hostler.ScheduleID, error) {
	s.CreatedAt, s.UpdatedAt = tx.now, tx.now
	cols, err := s.columns()
	if err != nil {
		return 0, err
	}
	n, err := insertNew(tx, "schedule", "project, name", []scheduleColumns{cols})
	if err == nil && n == 0 {
		err = errTaken(scheduleWord, s.Name)
	}
	return s.ID, err
}

// UpdateSchedule replaces a schedule, which the transaction has locked.
func (tx *Tx) UpdateSchedule(s ScheduleRow) error {
	s.UpdatedAt = tx.now
	cols, err := s.columns()
	if err != nil {
		return err
	}
	_, err = execRows(tx, `UPDATE schedule SET enabled = v.enabled, spec = v.spec, owner = v.owner,
owner_key = v.owner_key, next_at = v.next_at, look_at = v.look_at, problem = v.problem, blocked = v.blocked,
slowed_at = v.slowed_at, pace_at = v.pace_at, updated_at = v.updated_at
FROM @rows WHERE schedule.id = v.id`, []scheduleColumns{cols})
	return err
}

// MoveSchedule records how far the instants of a schedule are decided, which the
// transaction has locked.
func (tx *Tx) MoveSchedule(s ScheduleRow) error {
	_, err := tx.Exec(`UPDATE schedule SET next_at = ?, look_at = ?, problem = ?, blocked = ?, slowed_at = ?, pace_at = ? WHERE id = ?`,
		sqldb.Micros(s.NextAt), sqldb.Micros(s.LookAt), encodeText(s.Problem), encodeText(s.Blocked),
		sqldb.Micros(s.SlowedAt), sqldb.Micros(s.PaceAt), s.ID)
	return err
}

// PostponeSchedule lets servers look at a schedule later, unless it was changed.
func (tx *Tx) PostponeSchedule(id hostler.ScheduleID, until time.Time) error {
	_, err := tx.Exec(`UPDATE schedule SET look_at = ? WHERE id = ? AND look_at <> 0 AND look_at <= ?`,
		sqldb.Micros(until), id, sqldb.Micros(tx.now))
	return err
}

// DeleteSchedule deletes a schedule. Its fires remain for as long as others do.
func (tx *Tx) DeleteSchedule(id hostler.ScheduleID) error {
	why := hostler.Textf("the schedule was deleted", "计划已被删除")
	if _, err := tx.Exec(`UPDATE schedule_fire SET state = 'skipped', reason = ? WHERE schedule = ? AND state = 'queued'`,
		encodeText(&why), id); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM schedule WHERE id = ?`, id)
	return err
}

// Schedule finds a schedule of a project by its id, or by its name when the id is 0; nil
// when there is none.
func (tx *Tx) Schedule(project hostler.ProjectID, id hostler.ScheduleID, name string) (*ScheduleRow, error) {
	return first(tx.findSchedule(project, id, name, ""))
}

// LockSchedule is Schedule for a change of it.
func (tx *Tx) LockSchedule(project hostler.ProjectID, id hostler.ScheduleID, name string) (*ScheduleRow, error) {
	return first(tx.findSchedule(project, id, name, " FOR UPDATE"))
}

func (tx *Tx) findSchedule(project hostler.ProjectID, id hostler.ScheduleID, name, lock string) ([]ScheduleRow, error) {
	if id != 0 {
		return tx.schedules(`WHERE s.project = ? AND s.id = ?`+lock, project, id)
	}
	return tx.schedules(`WHERE s.project = ? AND s.name = ?`+lock, project, name)
}

// Schedules lists schedules of a project by name after a name.
func (tx *Tx) Schedules(project hostler.ProjectID, after string, limit int) ([]ScheduleRow, error) {
	return tx.schedules(`WHERE s.project = ? AND s.name > ? ORDER BY s.name LIMIT ?`, project, after, limit)
}

// ScheduleByID returns a schedule of any project; nil if there is none.
func (tx *Tx) ScheduleByID(id hostler.ScheduleID) (*ScheduleRow, error) {
	return first(tx.schedules(`WHERE s.id = ?`, id))
}

// DueSchedules returns up to limit schedules that a server has to look at, those that wait
// longest first, and when the next one is to be looked at; zero: never.
func (tx *Tx) DueSchedules(limit int) (due []hostler.ScheduleID, next time.Time, err error) {
	type look struct {
		ID     hostler.ScheduleID `db:"id"`
		LookAt time.Time          `db:"look_at"`
	}
	rows, err := query[look](tx, `SELECT @cols FROM schedule WHERE look_at <> 0 ORDER BY look_at LIMIT ?`, limit)
	for _, r := range rows {
		if r.LookAt.After(tx.now) {
			return due, r.LookAt, err
		}
		due = append(due, r.ID)
	}
	return due, time.Time{}, err
}

// LockDueSchedule locks a schedule that is to be looked at; nil when another server has
// it, or there is nothing to look at any more.
func (tx *Tx) LockDueSchedule(id hostler.ScheduleID) (*ScheduleRow, error) {
	return first(tx.schedules(`WHERE s.id = ? AND s.look_at <> 0 AND s.look_at <= ? FOR UPDATE SKIP LOCKED`,
		id, sqldb.Micros(tx.now)))
}

const selectSchedules = `SELECT s.@cols, COALESCE((SELECT p.name FROM project p WHERE p.id = s.project), ''),
COALESCE((SELECT u.name FROM users u WHERE u.id = s.owner), '')
FROM schedule s `

func (tx *Tx) schedules(where string, args ...any) ([]ScheduleRow, error) {
	var out []ScheduleRow
	err := scanRows(tx, withColumns[scheduleColumns](selectSchedules+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[scheduleColumns]) error {
			var cols scheduleColumns
			var project, owner string
			if err := s.Scan(r, &cols, &project, &owner); err != nil {
				return err
			}
			out = append(out, cols.row(project, owner))
			return nil
		})
	return out, err
}
