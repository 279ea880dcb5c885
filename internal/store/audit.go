package store

import (
	"encoding/json"
	"time"

	"hostler.dev/hostler"
)

// auditRow is a row of table audit.
type auditRow struct {
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

// AppendAudit records a change. The table refuses updates and deletes.
func (tx *Tx) AppendAudit(project hostler.ProjectID, a hostler.Audit) error {
	id, err := tx.NewID()
	if err != nil {
		return err
	}
	return insert(tx, "audit", []auditRow{{
		hostler.AuditID(id), tx.now, project, a.User, a.UserID, a.Key, a.Remote, a.Verb, a.Object, a.Detail,
	}})
}

// Audits lists the audit of a project, newest first, before an id (0 for the
// first).
func (tx *Tx) Audits(project hostler.ProjectID, before hostler.AuditID, limit int) ([]hostler.Audit, error) {
	type named struct {
		auditRow
		ProjectName string `db:"COALESCE((SELECT p.name FROM project p WHERE p.id = audit.project), '')"`
	}
	rows, err := query[named](tx, `SELECT @cols FROM audit WHERE project = ? AND (? = 1 OR id < ?)
ORDER BY id DESC LIMIT ?`, project, before == 0, before, limit)
	var out []hostler.Audit
	for _, r := range rows {
		a := hostler.Audit{
			ID: r.ID, At: r.At, Project: r.ProjectName, User: r.User, UserID: r.UserID, Key: r.Key,
			Remote: r.Remote, Verb: r.Verb, Object: r.Object,
		}
		if len(r.Detail) > 0 {
			a.Detail = json.RawMessage(r.Detail)
		}
		out = append(out, a)
	}
	return out, err
}
