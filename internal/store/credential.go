package store

import (
	"encoding/json"
	"fmt"
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
	Rules     string               `db:"rules"` // JSON
	HostKey   string               `db:"host_key"`
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
	row := credentialRow{id, c.Name, c.Kind, c.Username, 1, tx.now, tx.now, "[]", c.HostKey}
	n, err := insertNew(tx, "credential", "project, name", []newCredential{{row, project, sealed}})
	if err == nil && n == 0 {
		err = errTaken(credentialWord, c.Name)
	}
	return id, err
}

// UpdateCredential replaces the content of a credential; its version grows.
func (tx *Tx) UpdateCredential(id hostler.CredentialID, c hostler.Credential, sealed []byte) error {
	_, err := tx.Exec(`UPDATE credential SET kind = ?, username = ?, host_key = ?, sealed = ?, version = version + 1,
updated_at = ? WHERE id = ?`, c.Kind, c.Username, c.HostKey, sealed, sqldb.Micros(tx.now), id)
	return err
}

// SetCredentialRules replaces the rules of a credential.
func (tx *Tx) SetCredentialRules(id hostler.CredentialID, rules []hostler.CredentialRule) error {
	text, err := json.Marshal(rules)
	if err != nil {
		return fmt.Errorf("encode rules: %w", err)
	}
	_, err = tx.Exec(`UPDATE credential SET rules = ?, updated_at = ? WHERE id = ?`,
		string(text), sqldb.Micros(tx.now), id)
	return err
}

func decodeRules(text string) (rules []hostler.CredentialRule, err error) {
	if text == "" || text == "[]" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("decode rules: %w", err)
	}
	return rules, nil
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
			if err := s.Scan(r, &row, &project); err != nil {
				return err
			}
			rules, err := decodeRules(row.Rules)
			out = append(out, hostler.Credential{
				ID: row.ID, Project: project, Name: row.Name, Kind: row.Kind, Username: row.Username,
				Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
				Rules: rules, HostKey: row.HostKey,
			})
			return err
		})
	return out, err
}

// CredentialsNamed finds credentials of a project, by name.
func (tx *Tx) CredentialsNamed(project hostler.ProjectID, names []string) (map[string]hostler.Credential, error) {
	found, err := tx.credentials(`WHERE c.project = ? AND c.name IN ?*`, project, names)
	have := make(map[string]hostler.Credential, len(found))
	for _, c := range found {
		have[c.Name] = c
	}
	return have, err
}

// CredentialsByID finds credentials of a project, by id.
func (tx *Tx) CredentialsByID(
	project hostler.ProjectID, ids []hostler.CredentialID,
) (map[hostler.CredentialID]hostler.Credential, error) {
	found, err := tx.credentials(`WHERE c.project = ? AND c.id IN ?*`, project, ids)
	have := make(map[hostler.CredentialID]hostler.Credential, len(found))
	for _, c := range found {
		have[c.ID] = c
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
	Project     hostler.ProjectID
	ProjectName string
	Name        string
	Sealed      []byte
	Rules       []hostler.CredentialRule
	Strict      bool // only for hosts whose key a person accepted
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
		Rules    string               `db:"rules"`
		HostKey  string               `db:"host_key"`
		Named    string               `db:"(SELECT p.name FROM project p WHERE p.id = credential.project)"`
	}
	rows, err := query[sealedRow](tx, `SELECT @cols FROM credential WHERE id IN ?* OR (project IN ?* AND name IN ?*)`,
		ids, projects, names)
	var out []SealedCredential
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		c := SealedCredential{
			Project: r.Project, ProjectName: r.Named, Name: r.Name, Sealed: r.Sealed, Strict: r.HostKey == hostler.HostKeyStrict,
		}
		if c.Rules, err = decodeRules(r.Rules); err != nil {
			return nil, err
		}
		c.ID, c.Kind, c.Username, c.Version = r.ID, r.Kind, r.Username, r.Version
		out = append(out, c)
	}
	return out, err
}
