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

// LockFollowUp locks a follow-up that is to be looked at, after its run; nil when another
// server has it or has done it.
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

// Of run.output_changed.
const (
	outputDiffers = 1
	outputSame    = 2
)

// OutputChanged compares the output of a locked run with that of the run before it of the same
// kind: whether its hash is another one; the first one changes nothing. Each run is compared
// once, and the answer stays.
func (tx *Tx) OutputChanged(r *RunRow, hash string) (bool, error) {
	if r.OutputChanged != 0 {
		return r.OutputChanged == outputDiffers, nil
	}
	type outputHash struct {
		Project hostler.ProjectID `db:"project"`
		Of      string            `db:"output_of"`
		Run     hostler.RunID     `db:"run"`
		Hash    string            `db:"hash"`
	}
	last, err := queryOne[outputHash](tx, `SELECT @cols FROM run_output_hash WHERE project = ? AND output_of = ? FOR UPDATE`,
		r.Project, r.OutputOf)
	if err != nil {
		return false, err
	}
	r.OutputChanged = outputSame
	if last == nil || last.Run < r.ID {
		if last != nil && last.Hash != hash {
			r.OutputChanged = outputDiffers
		}
		if _, err := execRows(tx, `INSERT INTO run_output_hash (project, output_of, run, hash)
SELECT v.project, v.output_of, v.run, v.hash FROM @rows WHERE true
ON CONFLICT (project, output_of) DO UPDATE SET run = excluded.run, hash = excluded.hash`,
			[]outputHash{{r.Project, r.OutputOf, r.ID, hash}}); err != nil {
			return false, err
		}
	}
	_, err = tx.Exec(`UPDATE run SET output_changed = ? WHERE id = ?`, r.OutputChanged, r.ID)
	return r.OutputChanged == outputDiffers, err
}

// CountChain counts the runs that followed a run, and each other, up to a limit.
func (tx *Tx) CountChain(first hostler.RunID, limit int) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT id FROM run WHERE chain = ? LIMIT ?) c`, []any{first, limit}, &n)
	return n, err
}
