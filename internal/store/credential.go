package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var credentialWord = hostler.Text{EN: "credential", ZH: "凭据"}

// credentialRow is a credential without its secret.
type credentialRow struct {
	ID        hostler.CredentialID `db:"id"`
	Name      string               `db:"name"`
	Kind      string               `db:"kind"`
	Username  string               `db:"username"`
	Version   int                  `db:"version"`
	CreatedAt time.Time            `db:"created_at"`
	UpdatedAt time.Time            `db:"updated_at"`
}

// InsertCredential creates a credential; seal seals its secret for the id that it
// gets. CodeConflict: the name is taken.
func (tx *Tx) InsertCredential(project hostler.ProjectID, c hostler.Credential,
	seal func(id hostler.CredentialID) ([]byte, error),
) (hostler.CredentialID, error) {
	type newCredential struct {
		credentialRow
		Project hostler.ProjectID `db:"project"`
		Sealed  []byte            `db:"sealed"`
	}
	raw, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	id := hostler.CredentialID(raw)
	sealed, err := seal(id)
	if err != nil {
		return 0, err
	}
	row := credentialRow{id, c.Name, c.Kind, c.Username, 1, tx.now, tx.now}
	n, err := insertNew(tx, "credential", "project, name", []newCredential{{row, project, sealed}})
	if err == nil && n == 0 {
		err = errTaken(credentialWord, c.Name)
	}
	return id, err
}

// UpdateCredential replaces the content of a credential; its version grows.
func (tx *Tx) UpdateCredential(id hostler.CredentialID, kind, username string, sealed []byte) error {
	_, err := tx.Exec(`UPDATE credential SET kind = ?, username = ?, sealed = ?, version = version + 1, updated_at = ?
WHERE id = ?`,
		kind, username, sealed, sqldb.Micros(tx.now), id)
	return err
}

// Credential finds a credential of a project by name, without its secret; nil
// when there is none.
func (tx *Tx) Credential(project hostler.ProjectID, name string) (*hostler.Credential, error) {
	return first(tx.credentials(`WHERE c.project = ? AND c.name = ?`, project, name))
}

// LockCredential is Credential for a change of it, or for binding it to an asset: no
// other transaction changes it before this one ends.
func (tx *Tx) LockCredential(project hostler.ProjectID, name string) (*hostler.Credential, error) {
	return first(tx.credentials(`WHERE c.project = ? AND c.name = ? FOR UPDATE`, project, name))
}

// Credentials lists the credentials of a project by name after a name.
func (tx *Tx) Credentials(project hostler.ProjectID, after string, limit int) ([]hostler.Credential, error) {
	return tx.credentials(`WHERE c.project = ? AND c.name > ? ORDER BY c.name LIMIT ?`, project, after, limit)
}

func (tx *Tx) credentials(where string, args ...any) ([]hostler.Credential, error) {
	var out []hostler.Credential
	err := scanRows(tx, withColumns[credentialRow](
		`SELECT c.@cols, (SELECT p.name FROM project p WHERE p.id = c.project) FROM credential c `+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[credentialRow]) error {
			var row credentialRow
			var project string
			err := s.Scan(r, &row, &project)
			out = append(out, hostler.Credential{
				ID: row.ID, Project: project, Name: row.Name, Kind: row.Kind, Username: row.Username,
				Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
			})
			return err
		})
	return out, err
}

// CredentialNames returns which of the names are credentials of the project.
func (tx *Tx) CredentialNames(project hostler.ProjectID, names []string) (map[string]bool, error) {
	found, err := column[string](tx, `SELECT name FROM credential WHERE project = ? AND name IN ?*`, project, names)
	have := make(map[string]bool, len(found))
	for _, name := range found {
		have[name] = true
	}
	return have, err
}

// DeleteCredential deletes a credential. CodeConflict: assets use it.
func (tx *Tx) DeleteCredential(id hostler.CredentialID) error {
	var n int64
	var user string
	_, err := tx.one(`SELECT count(*), COALESCE(min(name), '') FROM asset WHERE credential = ?`, []any{id}, &n, &user)
	if err != nil {
		return err
	}
	if n > 0 {
		return hostler.Errorf(hostler.CodeConflict,
			"%d assets use it, such as %q; give them another one first",
			"有 %d 个资产正在使用它（如 %q）；请先为它们更换凭据", n, user)
	}
	_, err = tx.Exec(`DELETE FROM credential WHERE id = ?`, id)
	return err
}

// SealedCredential is a credential with its sealed secret; for leases.
type SealedCredential struct {
	hostler.LeaseCredential
	Project hostler.ProjectID
	Name    string
	Sealed  []byte
}

// SealedCredentials finds credentials by id, and by name in the projects. Names of a
// project that did not ask for them may be among the results.
func (tx *Tx) SealedCredentials(ids []hostler.CredentialID, projects []hostler.ProjectID,
	names []string,
) ([]SealedCredential, error) {
	type sealedRow struct {
		ID       hostler.CredentialID `db:"id"`
		Project  hostler.ProjectID    `db:"project"`
		Name     string               `db:"name"`
		Kind     string               `db:"kind"`
		Username string               `db:"username"`
		Version  int                  `db:"version"`
		Sealed   []byte               `db:"sealed"`
	}
	rows, err := query[sealedRow](tx, `SELECT @cols FROM credential WHERE id IN ?* OR (project IN ?* AND name IN ?*)`,
		ids, projects, names)
	var out []SealedCredential
	for _, r := range rows {
		c := SealedCredential{Project: r.Project, Name: r.Name, Sealed: r.Sealed}
		c.ID, c.Kind, c.Username, c.Version = r.ID, r.Kind, r.Username, r.Version
		out = append(out, c)
	}
	return out, err
}
