package store

import (
	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var credentialWord = hostler.Text{EN: "credential", ZH: "凭据"}

// InsertCredential makes a credential from what is known before its id is;
// seal then seals the secret for that id. CodeConflict: the name is taken.
func (tx *Tx) InsertCredential(project hostler.ProjectID, c hostler.Credential, seal func(id hostler.CredentialID) ([]byte, error)) (hostler.CredentialID, error) {
	raw, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	id := hostler.CredentialID(raw)
	sealed, err := seal(id)
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(`INSERT INTO credential (id, project, name, kind, username, version, sealed, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (project, name) DO NOTHING`,
		id, project, c.Name, c.Kind, c.Username, sealed, sqldb.Micros(tx.now), sqldb.Micros(tx.now))
	if err == nil && n == 0 {
		err = errTaken(credentialWord, c.Name)
	}
	return id, err
}

// UpdateCredential replaces the content of a credential; its version grows.
func (tx *Tx) UpdateCredential(id hostler.CredentialID, kind, username string, sealed []byte) error {
	_, err := tx.Exec(`UPDATE credential SET kind = ?, username = ?, sealed = ?, version = version + 1, updated_at = ? WHERE id = ?`,
		kind, username, sealed, sqldb.Micros(tx.now), id)
	return err
}

// Credential finds a credential of a project by name, without its secret; nil
// when there is none.
func (tx *Tx) Credential(project hostler.ProjectID, name string) (*hostler.Credential, error) {
	return first(tx.credentials(`WHERE c.project = ? AND c.name = ?`, project, name))
}

// LockCredential is Credential for a change of it, or for binding it to an asset:
// it stays as it is until the transaction ends.
func (tx *Tx) LockCredential(project hostler.ProjectID, name string) (*hostler.Credential, error) {
	return first(tx.credentials(`WHERE c.project = ? AND c.name = ? FOR UPDATE`, project, name))
}

// Credentials lists the credentials of a project by name after a name.
func (tx *Tx) Credentials(project hostler.ProjectID, after string, limit int) ([]hostler.Credential, error) {
	return tx.credentials(`WHERE c.project = ? AND c.name > ? ORDER BY c.name LIMIT ?`, project, after, limit)
}

func (tx *Tx) credentials(where string, args ...any) ([]hostler.Credential, error) {
	var out []hostler.Credential
	err := tx.each(`SELECT c.id, (SELECT p.name FROM project p WHERE p.id = c.project), c.name, c.kind, c.username, c.version, c.created_at, c.updated_at
FROM credential c `+where, args, func(r sqldb.Rows) error {
		var id, created, updated int64
		var c hostler.Credential
		err := r.Scan(&id, &c.Project, &c.Name, &c.Kind, &c.Username, &c.Version, &created, &updated)
		c.ID, c.CreatedAt, c.UpdatedAt = hostler.CredentialID(id), sqldb.Time(created), sqldb.Time(updated)
		out = append(out, c)
		return err
	})
	return out, err
}

// CredentialNames says which of the names are credentials of the project.
func (tx *Tx) CredentialNames(project hostler.ProjectID, names []string) (map[string]bool, error) {
	have := map[string]bool{}
	err := tx.each(`SELECT name FROM credential WHERE project = ? AND name IN ?*`, []any{project, names}, func(r sqldb.Rows) error {
		var name string
		err := r.Scan(&name)
		have[name] = true
		return err
	})
	return have, err
}

// DeleteCredential deletes a credential. CodeConflict: assets use it.
func (tx *Tx) DeleteCredential(id hostler.CredentialID) error {
	var n int64
	var user string
	if _, err := tx.one(`SELECT count(*), COALESCE(min(name), '') FROM asset WHERE credential = ?`, []any{id}, &n, &user); err != nil {
		return err
	}
	if n > 0 {
		return hostler.Errorf(hostler.CodeConflict,
			"%d assets use it, such as %q; give them another one first", "有 %d 个资产正在使用它（如 %q）；请先为它们更换凭据", n, user)
	}
	_, err := tx.Exec(`DELETE FROM credential WHERE id = ?`, id)
	return err
}

// SealedCredential is a credential with its sealed secret; for leases.
type SealedCredential struct {
	hostler.LeaseCredential
	Project hostler.ProjectID
	Name    string
	Sealed  []byte
}

// SealedCredentials finds credentials by id, and by name in the projects. Names
// of a project that did not ask for them may be among the results.
func (tx *Tx) SealedCredentials(ids []hostler.CredentialID, projects []hostler.ProjectID, names []string) ([]SealedCredential, error) {
	var out []SealedCredential
	err := tx.each(`SELECT id, project, name, kind, username, version, sealed FROM credential WHERE id IN ?* OR (project IN ?* AND name IN ?*)`,
		[]any{ids, projects, names}, func(r sqldb.Rows) error {
			var c SealedCredential
			var id, project int64
			err := r.Scan(&id, &project, &c.Name, &c.Kind, &c.Username, &c.Version, &c.Sealed)
			c.ID, c.Project = hostler.CredentialID(id), hostler.ProjectID(project)
			out = append(out, c)
			return err
		})
	return out, err
}
