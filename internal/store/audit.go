package store

import (
	"encoding/json"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// AppendAudit records a change. The table takes no updates and no deletes.
func (tx *Tx) AppendAudit(project hostler.ProjectID, a hostler.Audit) error {
	id, err := tx.NewID()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO audit (id, at, project, user_name, key_id, remote, verb, object, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, sqldb.Micros(tx.now), project, a.User, a.Key, a.Remote, a.Verb, a.Object, string(a.Detail))
	return err
}

// Audits lists the audit of a project, newest first, before an id (0 for the
// first).
func (tx *Tx) Audits(project hostler.ProjectID, before hostler.AuditID, limit int) ([]hostler.Audit, error) {
	var out []hostler.Audit
	err := tx.each(`SELECT a.id, a.at, COALESCE(p.name, ''), a.user_name, a.key_id, a.remote, a.verb, a.object, a.detail
FROM audit a LEFT JOIN project p ON p.id = a.project WHERE a.project = ? AND (? = 1 OR a.id < ?) ORDER BY a.id DESC LIMIT ?`,
		[]any{project, before == 0, before, limit}, func(r sqldb.Rows) error {
			var id, at, key int64
			var detail string
			var a hostler.Audit
			err := r.Scan(&id, &at, &a.Project, &a.User, &key, &a.Remote, &a.Verb, &a.Object, &detail)
			a.ID, a.At, a.Key = hostler.AuditID(id), sqldb.Time(at), hostler.KeyID(key)
			if detail != "" {
				a.Detail = json.RawMessage(detail)
			}
			out = append(out, a)
			return err
		})
	return out, err
}
