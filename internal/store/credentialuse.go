package store

import (
	"time"

	"hostler.dev/hostler"
)

// sshPort is the port of an asset without one, for SSH.
const sshPort = 22

// effectivePort is the port of asset a in a use.
const effectivePort = `CASE a.port WHEN 0 THEN 22 ELSE a.port END`

// UseRow is one allowed use of a credential.
type UseRow struct {
	ID         hostler.CredentialUseID `db:"id"`
	Project    hostler.ProjectID       `db:"project"`
	Credential hostler.CredentialID    `db:"credential"`
	Kind       string                  `db:"kind"`
	Target     string                  `db:"target"` // host, or origin of a URL
	Port       int                     `db:"port"`
	Jump       hostler.AssetID         `db:"jump"`
	CreatedBy  string                  `db:"created_by"`
	CreatedAt  time.Time               `db:"created_at"`
}

// AllowUses adds uses of credentials; those that are allowed already stay as they are.
func (tx *Tx) AllowUses(rows []UseRow) error {
	if len(rows) == 0 {
		return nil
	}
	ids, err := tx.c.NewIDs(tx.ctx, len(rows))
	if err != nil {
		return err
	}
	for i := range rows {
		rows[i].ID, rows[i].CreatedAt = hostler.CredentialUseID(ids[i]), tx.now
	}
	_, err = insertNew(tx, "credential_use", "credential, kind, target, port, jump", rows)
	return err
}

// UsesOf finds the allowed uses of credentials at targets.
func (tx *Tx) UsesOf(credentials []hostler.CredentialID, targets []string) ([]UseRow, error) {
	return query[UseRow](tx, `SELECT @cols FROM credential_use WHERE credential IN ?* AND target IN ?*`,
		credentials, targets)
}

// CredentialUses lists the allowed uses of a credential after an id, in the order in
// which they were made.
func (tx *Tx) CredentialUses(
	credential hostler.CredentialID, after hostler.CredentialUseID, limit int,
) ([]hostler.CredentialUse, error) {
	type listed struct {
		ID        hostler.CredentialUseID `db:"u.id"`
		Kind      string                  `db:"u.kind"`
		Target    string                  `db:"u.target"`
		Port      int                     `db:"u.port"`
		Jump      string                  `db:"COALESCE(j.name, '')"`
		CreatedBy string                  `db:"u.created_by"`
		CreatedAt time.Time               `db:"u.created_at"`
	}
	rows, err := query[listed](tx, `SELECT @cols FROM credential_use u LEFT JOIN asset j ON j.id = u.jump
WHERE u.credential = ? AND u.id > ? ORDER BY u.id LIMIT ?`, credential, after, limit)
	out := make([]hostler.CredentialUse, len(rows))
	for i, r := range rows {
		out[i] = hostler.CredentialUse{
			ID: r.ID, Use: r.Kind, Target: r.Target, Port: r.Port, Jump: r.Jump,
			CreatedBy: r.CreatedBy, CreatedAt: r.CreatedAt,
		}
	}
	return out, err
}

// DeleteUse deletes an allowed use of a credential; nil when there is none.
func (tx *Tx) DeleteUse(credential hostler.CredentialID, id hostler.CredentialUseID) (*UseRow, error) {
	return queryOne[UseRow](tx, `DELETE FROM credential_use WHERE credential = ? AND id = ? RETURNING @cols`,
		credential, id)
}

// DeleteUnusedUses deletes the uses at a place where no asset of the project is any more:
// whoever adds another machine there later needs an admin again.
func (tx *Tx) DeleteUnusedUses(project hostler.ProjectID, address string, port int, jump hostler.AssetID) error {
	if port == 0 {
		port = sshPort
	}
	_, err := tx.Exec(`DELETE FROM credential_use WHERE project = ? AND target = ? AND port = ? AND jump = ?
AND kind <> 'http' AND NOT EXISTS (SELECT 1 FROM asset a WHERE a.project = ? AND a.address = ?
AND `+effectivePort+` = ? AND a.jump = ?)`, project, address, port, jump, project, address, port, jump)
	return err
}

// AssetsToCheck lists which of the assets need a closer look before a credential is used
// on them: those without an allowed use of this kind, and those behind a jump host. The
// credential 0 is the asset's own; assets without one are then left out.
func (tx *Tx) AssetsToCheck(
	ids []hostler.AssetID, kind string, credential hostler.CredentialID,
) ([]hostler.AssetID, error) {
	const unpaired = `(a.jump <> 0 OR NOT EXISTS (SELECT 1 FROM credential_use u WHERE u.kind = ?
AND u.target = a.address AND u.port = ` + effectivePort + ` AND u.jump = 0 AND u.credential = `
	if credential == 0 {
		return column[hostler.AssetID](tx, `SELECT a.id FROM asset a WHERE a.id IN ?* AND a.credential <> 0 AND `+
			unpaired+`a.credential)) ORDER BY a.id`, ids, kind)
	}
	return column[hostler.AssetID](tx, `SELECT a.id FROM asset a WHERE a.id IN ?* AND `+
		unpaired+`?)) ORDER BY a.id`, ids, kind, credential)
}
