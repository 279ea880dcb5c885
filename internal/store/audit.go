package store

import (
	"encoding/json"
	"strings"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// AuditRow is a row of table audit.
type AuditRow struct {
	ID      hostler.AuditID   `db:"id"`
	At      time.Time         `db:"at"`
	Project hostler.ProjectID `db:"project"`
	User    string            `db:"user_name"`
	UserID  hostler.UserID    `db:"user_id"`
	Key     hostler.KeyID     `db:"key_id"`
	Remote  string            `db:"remote"`
	Verb    string            `db:"verb"`
	Object  string            `db:"object"`
	Detail  []byte            `db:"detail,text"` // JSON, or empty
}

// AppendAudit records a change. The table refuses updates, and deletes of rows that were
// not archived. A trigger queues the row for the chain.
func (tx *Tx) AppendAudit(project hostler.ProjectID, a hostler.Audit) error {
	_, err := tx.AppendAuditRow(project, a)
	return err
}

// AppendAuditRow is AppendAudit, and returns the row.
func (tx *Tx) AppendAuditRow(project hostler.ProjectID, a hostler.Audit) (AuditRow, error) {
	id, err := tx.NewID()
	if err != nil {
		return AuditRow{}, err
	}
	row := AuditRow{
		hostler.AuditID(id), tx.now, project, a.User, a.UserID, a.Key, a.Remote, a.Verb, a.Object, a.Detail,
	}
	tx.Notify(TopicAudit)
	return row, insert(tx, "audit", []AuditRow{row})
}

// AuditQuery selects rows of the audit of a project.
type AuditQuery struct {
	Project            hostler.ProjectID
	User, Verb, Object string
	Since, Until       time.Time
}

// Audits lists the audit of a project, newest first, before an id (0 for the first).
func (tx *Tx) Audits(q AuditQuery, before hostler.AuditID, limit int) ([]hostler.Audit, error) {
	return tx.audits(q, before != 0, `a.id < ?`, before, `DESC`, limit)
}

// AuditsAfter lists the audit of a project, oldest first, after an id.
func (tx *Tx) AuditsAfter(q AuditQuery, after hostler.AuditID, limit int) ([]hostler.Audit, error) {
	return tx.audits(q, true, `a.id > ?`, after, ``, limit)
}

func (tx *Tx) audits(
	q AuditQuery, bounded bool, bound string, id hostler.AuditID, order string, limit int,
) ([]hostler.Audit, error) {
	where, args := []string{`a.project = ?`}, []any{q.Project}
	and := func(is bool, condition string, arg any) {
		if is {
			where, args = append(where, condition), append(args, arg)
		}
	}
	and(bounded, bound, id)
	and(q.User != "", `a.user_name = ?`, q.User)
	and(q.Verb != "", `a.verb = ?`, q.Verb)
	and(q.Object != "", `a.object = ?`, q.Object)
	if !q.Since.IsZero() {
		// The bound on the ids makes the index end the search.
		and(true, `a.id >= ?`, hostler.MakeID(q.Since.Add(-idSlack).Unix(), 0))
		and(true, `a.at >= ?`, sqldb.Micros(q.Since))
	}
	if !q.Until.IsZero() {
		and(true, `a.id < ?`, hostler.MakeID(q.Until.Add(idSlack).Unix(), 0))
		and(true, `a.at < ?`, sqldb.Micros(q.Until))
	}
	type named struct {
		ID          hostler.AuditID `db:"a.id"`
		At          time.Time       `db:"a.at"`
		User        string          `db:"a.user_name"`
		UserID      hostler.UserID  `db:"a.user_id"`
		Key         hostler.KeyID   `db:"a.key_id"`
		Remote      string          `db:"a.remote"`
		Verb        string          `db:"a.verb"`
		Object      string          `db:"a.object"`
		Detail      []byte          `db:"a.detail,text"`
		ProjectName string          `db:"COALESCE((SELECT p.name FROM project p WHERE p.id = a.project), '')"`
		Pos         int64           `db:"COALESCE((SELECT c.pos FROM audit_chain c WHERE c.audit = a.id), 0)"`
	}
	rows, err := query[named](tx, `SELECT @cols FROM audit a WHERE `+strings.Join(where, ` AND `)+
		` ORDER BY a.id `+order+` LIMIT ?`, append(args, limit)...)
	var out []hostler.Audit
	for _, r := range rows {
		a := hostler.Audit{
			ID: r.ID, Position: r.Pos, At: r.At, Project: r.ProjectName, User: r.User, UserID: r.UserID, Key: r.Key,
			Remote: r.Remote, Verb: r.Verb, Object: r.Object,
		}
		if len(r.Detail) > 0 {
			a.Detail = json.RawMessage(r.Detail)
		}
		out = append(out, a)
	}
	return out, err
}
