package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// ApprovalRow is a row of approval.
type ApprovalRow struct {
	ID        hostler.ApprovalID    `db:"id"`
	Project   hostler.ProjectID     `db:"project"`
	Run       hostler.RunID         `db:"run"`
	Step      hostler.RunStepID     `db:"step"`
	Title     string                `db:"title"`
	Approvers string                `db:"approvers"` // a JSON list
	Quorum    int                   `db:"quorum"`
	Self      bool                  `db:"self"`
	Requester hostler.UserID        `db:"requester"`
	State     hostler.ApprovalState `db:"state"`
	Digest    string                `db:"digest"`
	Plan      string                `db:"plan"`
	CreatedAt time.Time             `db:"created_at"`
	ExpiresAt time.Time             `db:"expires_at"`
	DecidedAt time.Time             `db:"decided_at"`
}

// ApprovalPlan is what an approval approves.
type ApprovalPlan struct {
	Digest string // SHA-256 of Text and of all hosts with their bindings
	Text   []byte // canonical JSON, without the hosts
	Parts  []PlanPart
}

// PlanPart is a part of a set of hosts, with their bindings.
type PlanPart struct {
	Set   int
	From  int64
	Hosts []RunHost
}

// InsertApproval asks for an approval; it is decided on once SetPlan has described it.
func (tx *Tx) InsertApproval(a ApprovalRow) error {
	id, err := tx.NewID()
	if err != nil {
		return err
	}
	a.ID, a.State, a.CreatedAt = hostler.ApprovalID(id), hostler.ApprovalPreparing, tx.now
	tx.Notify(TopicRuns)
	_, err = insertNewWhere(tx, "approval", a)
	return err
}

// insertNewWhere inserts an approval unless its step has an open one.
func insertNewWhere(tx *Tx, table string, a ApprovalRow) (int64, error) {
	cols := sqldb.Columns[ApprovalRow]()
	return execRows(tx, `INSERT INTO `+table+` (`+columnList("", cols)+`) SELECT `+columnList("v.", cols)+` FROM @rows
WHERE NOT EXISTS (SELECT 1 FROM approval o WHERE o.step = v.step AND o.state IN ('preparing', 'waiting'))`,
		[]ApprovalRow{a})
}

// PreparingApprovals lists approvals whose plan is not described yet.
func (tx *Tx) PreparingApprovals(limit int) ([]ApprovalRow, error) {
	return query[ApprovalRow](tx, `SELECT @cols FROM approval WHERE state = 'preparing' ORDER BY id LIMIT ?`, limit)
}

// SetPlan describes what an approval approves, so that people can decide. It reports whether
// this call did so.
func (tx *Tx) SetPlan(id hostler.ApprovalID, digest, plan string) (bool, error) {
	n, err := tx.Exec(`UPDATE approval SET state = 'waiting', digest = ?, plan = ? WHERE id = ? AND state = 'preparing'`,
		digest, plan, id)
	return n > 0, err
}

// SetBindings stores to what the hosts of a part of a set are bound by an approval.
func (tx *Tx) SetBindings(run hostler.RunID, set int, from int64, hosts []RunHost) error {
	b, err := json.Marshal(hosts)
	if err != nil {
		return fmt.Errorf("encode hosts: %w", err)
	}
	_, err = tx.Exec(`UPDATE run_target SET hosts = ? WHERE run = ? AND host_set = ? AND part = ?`,
		string(b), run, set, from/hostsPerPart)
	return err
}

// CloseApproval ends the open approval of a step without a decision of people.
func (tx *Tx) CloseApproval(step hostler.RunStepID, state hostler.ApprovalState) error {
	_, err := tx.Exec(`UPDATE approval SET state = ?, decided_at = ? WHERE step = ? AND state IN ('preparing', 'waiting')`,
		state, sqldb.Micros(tx.now), step)
	return err
}

// Approval returns an approval of a project; nil when there is none.
func (tx *Tx) Approval(project hostler.ProjectID, id hostler.ApprovalID) (*ApprovalRow, error) {
	return queryOne[ApprovalRow](tx, `SELECT @cols FROM approval WHERE id = ? AND project = ?`, id, project)
}

// ApprovalByID returns an approval with the name of its project; nil when there is none.
func (tx *Tx) ApprovalByID(id hostler.ApprovalID) (*ApprovalRow, string, error) {
	row, err := queryOne[ApprovalRow](tx, `SELECT @cols FROM approval WHERE id = ?`, id)
	if err != nil || row == nil {
		return nil, "", err
	}
	var name string
	_, err = tx.one(`SELECT name FROM project WHERE id = ?`, []any{row.Project}, &name)
	return row, name, err
}

// LockApproval is Approval, which no other transaction changes until this one ends.
func (tx *Tx) LockApproval(project hostler.ProjectID, id hostler.ApprovalID) (*ApprovalRow, error) {
	return queryOne[ApprovalRow](tx, `SELECT @cols FROM approval WHERE id = ? AND project = ? FOR UPDATE`, id, project)
}

// Approvals lists approvals of a project before an id, the newest first. Approvals that are
// being prepared are left out.
func (tx *Tx) Approvals(
	project hostler.ProjectID, state hostler.ApprovalState, run hostler.RunID, before hostler.ApprovalID, limit int,
) ([]ApprovalRow, error) {
	sql, args := `SELECT @cols FROM approval WHERE project = ? AND state <> 'preparing'`, []any{project}
	if state != "" {
		sql, args = sql+` AND state = ?`, append(args, state)
	}
	if run != 0 {
		sql, args = sql+` AND run = ?`, append(args, run)
	}
	if before != 0 {
		sql, args = sql+` AND id < ?`, append(args, before)
	}
	return query[ApprovalRow](tx, sql+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
}

// ApprovalDecision is what a person decided.
type ApprovalDecision struct {
	Approval hostler.ApprovalID    `db:"approval"`
	UserID   hostler.UserID        `db:"user_id"`
	UserName string                `db:"user_name"`
	Key      hostler.KeyID         `db:"key_id"`
	Remote   string                `db:"remote"`
	Decision hostler.ApprovalState `db:"decision"`
	Comment  string                `db:"comment"`
	Digest   string                `db:"digest"`
	At       time.Time             `db:"at"`
}

// Decisions lists the decisions on approvals, in the order in which they were made.
func (tx *Tx) Decisions(ids []hostler.ApprovalID) ([]ApprovalDecision, error) {
	return query[ApprovalDecision](tx, `SELECT @cols FROM approval_decision WHERE approval IN ?* ORDER BY at, user_id`, ids)
}

// Decide records the decision of a person on a locked approval. It reports false when the
// person has decided before.
func (tx *Tx) Decide(d ApprovalDecision) (bool, error) {
	d.At = tx.now
	n, err := insertNew(tx, "approval_decision", "approval, user_id", []ApprovalDecision{d})
	return n > 0, err
}

// EndApproval stores the state in which people brought an approval, for its step too, and
// wakes the run.
func (tx *Tx) EndApproval(a *ApprovalRow, state hostler.ApprovalState) error {
	_, err := tx.Exec(`UPDATE approval SET state = ?, decided_at = ? WHERE id = ?`, state, sqldb.Micros(tx.now), a.ID)
	if err != nil {
		return err
	}
	decision := hostler.RunRejected
	if state == hostler.ApprovalApproved {
		decision = hostler.RunSucceeded
	}
	_, err = tx.Exec(`UPDATE run_step SET decision = ? WHERE id = ? AND state = 'waiting'`, decision, a.Step)
	if err != nil {
		return err
	}
	return tx.WakeRuns(a.Run)
}

// KeyUsers returns the users of a key and of those that it descends from: who has one of
// them may have created the key.
func (tx *Tx) KeyUsers(key hostler.KeyID) ([]hostler.UserID, error) {
	return column[hostler.UserID](tx, `WITH RECURSIVE family (id, parent, user_id) AS (
SELECT k.id, k.parent, k.user_id FROM api_key k WHERE k.id = ?
UNION SELECT k.id, k.parent, k.user_id FROM api_key k JOIN family f ON k.id = f.parent)
SELECT DISTINCT user_id FROM family`, key)
}

// ApprovalStep is the step and the run that an approval belongs to.
type ApprovalStep struct {
	Step, Name, Requester string
}

// ApprovalSteps returns the steps of approvals.
func (tx *Tx) ApprovalSteps(ids []hostler.ApprovalID) (map[hostler.ApprovalID]ApprovalStep, error) {
	type row struct {
		ID        hostler.ApprovalID `db:"a.id"`
		Step      string             `db:"s.step"`
		Name      string             `db:"r.name"`
		Requester string             `db:"r.requester_name"`
	}
	out := make(map[hostler.ApprovalID]ApprovalStep, len(ids))
	err := queryEach(tx, `SELECT @cols FROM approval a JOIN run_step s ON s.id = a.step JOIN run r ON r.id = a.run
WHERE a.id IN ?*`, []any{ids}, func(r *row) error {
		out[r.ID] = ApprovalStep{r.Step, r.Name, r.Requester}
		return nil
	})
	return out, err
}
