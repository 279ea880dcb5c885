package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// FollowUpRow is a row of follow_up.
type FollowUpRow struct {
	Run       hostler.RunID         `db:"run"`
	N         int                   `db:"n"`
	Project   hostler.ProjectID     `db:"project"`
	Spec      string                `db:"spec"` // a hostler.FollowUp as JSON
	Owner     hostler.UserID        `db:"owner"`
	OwnerName string                `db:"owner_name"`
	OwnerKey  hostler.KeyID         `db:"owner_key"`
	DueAt     time.Time             `db:"due_at"`
	State     hostler.FollowUpState `db:"state"`
	Next      hostler.RunID         `db:"next"`
	Delivery  hostler.DeliveryID    `db:"delivery"`
	Reason    string                `db:"reason"` // a hostler.Text as JSON, or ''
	DecidedAt time.Time             `db:"decided_at"`
}

// InsertFollowUps stores what follows a run, which has Follows set.
func (tx *Tx) InsertFollowUps(rows []FollowUpRow) error { return insert(tx, "follow_up", rows) }

// WakeFollowUps lets servers look at what follows a run that has ended.
func (tx *Tx) WakeFollowUps(run hostler.RunID) error {
	_, err := tx.Exec(`UPDATE follow_up SET due_at = ? WHERE run = ? AND state = 'waiting'`, sqldb.Micros(tx.now), run)
	return err
}

// DueFollowUps returns up to limit follow-ups that a server has to look at.
func (tx *Tx) DueFollowUps(limit int) ([]FollowUpRow, error) {
	return query[FollowUpRow](tx, `SELECT @cols FROM follow_up WHERE due_at <> 0 AND due_at <= ? ORDER BY due_at LIMIT ?`,
		sqldb.Micros(tx.now), limit)
}

// LockFollowUp locks a follow-up that is to be looked at; nil when another server has it or
// has done it.
func (tx *Tx) LockFollowUp(run hostler.RunID, n int) (*FollowUpRow, error) {
	return queryOne[FollowUpRow](tx, `SELECT @cols FROM follow_up
WHERE run = ? AND n = ? AND due_at <> 0 AND due_at <= ? FOR UPDATE SKIP LOCKED`, run, n, sqldb.Micros(tx.now))
}

// SaveFollowUp stores what became of a follow-up, which the transaction has locked.
func (tx *Tx) SaveFollowUp(r FollowUpRow, reason *hostler.Text) error {
	_, err := tx.Exec(`UPDATE follow_up SET due_at = ?, state = ?, next = ?, delivery = ?, reason = ?, decided_at = ?
WHERE run = ? AND n = ?`, sqldb.Micros(r.DueAt), string(r.State), r.Next, r.Delivery, encodeText(reason), sqldb.Micros(tx.now), r.Run, r.N)
	return err
}

// FollowUps lists what follows a run.
func (tx *Tx) FollowUps(run hostler.RunID) ([]FollowUpRow, error) {
	return query[FollowUpRow](tx, `SELECT @cols FROM follow_up WHERE run = ? ORDER BY n`, run)
}

// Text is why a follow-up was refused, or waits.
func (r *FollowUpRow) Text() *hostler.Text { return decodeText(r.Reason) }

// OutputChanged stores the hash of the output of a run. It reports whether that of the runs
// that it is compared with was another before; the first one changes nothing. Each run is
// compared once.
func (tx *Tx) OutputChanged(project hostler.ProjectID, of string, run hostler.RunID, hash string) (bool, error) {
	type outputHash struct {
		Project hostler.ProjectID `db:"project"`
		Of      string            `db:"output_of"`
		Run     hostler.RunID     `db:"run"`
		Hash    string            `db:"hash"`
	}
	last, err := queryOne[outputHash](tx, `SELECT @cols FROM run_output_hash WHERE project = ? AND output_of = ? FOR UPDATE`,
		project, of)
	if err != nil || last != nil && last.Run >= run {
		return false, err
	}
	_, err = execRows(tx, `INSERT INTO run_output_hash (project, output_of, run, hash)
SELECT v.project, v.output_of, v.run, v.hash FROM @rows WHERE true
ON CONFLICT (project, output_of) DO UPDATE SET run = excluded.run, hash = excluded.hash`,
		[]outputHash{{project, of, run, hash}})
	return last != nil && last.Hash != hash, err
}
