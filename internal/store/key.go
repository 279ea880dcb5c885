package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// KeyRow is an API key as stored, with the hash of its secret and its user.
type KeyRow struct {
	hostler.Key
	UserID    hostler.UserID
	ProjectID hostler.ProjectID
	Hash      string // written, never read back
}

// keyColumns are the columns of table api_key, but for the hash.
type keyColumns struct {
	ID        hostler.KeyID     `db:"id"`
	User      hostler.UserID    `db:"user_id"`
	Name      string            `db:"name"`
	Project   hostler.ProjectID `db:"project"`
	Role      hostler.Role      `db:"role"`
	Prefix    string            `db:"prefix"`
	CreatedAt time.Time         `db:"created_at"`
	ExpiresAt *time.Time        `db:"expires_at"`
	RevokedAt *time.Time        `db:"revoked_at"`
	LastUsed  *time.Time        `db:"last_used_at"`
}

// InsertKey stores a key and returns it as people see it. User and Project are
// names for the answer only.
func (tx *Tx) InsertKey(k KeyRow) (hostler.Key, error) {
	type newKey struct {
		keyColumns
		Hash string `db:"hash"`
	}
	id, err := tx.NewID()
	if err != nil {
		return hostler.Key{}, err
	}
	k.ID, k.CreatedAt = hostler.KeyID(id), tx.now
	cols := keyColumns{
		ID: k.ID, User: k.UserID, Name: k.Name, Project: k.ProjectID, Role: k.Role, Prefix: k.Prefix,
		CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
	}
	n, err := insertNew(tx, "api_key", "hash", []newKey{{cols, k.Hash}})
	if err == nil && n == 0 {
		err = hostler.Errorf(hostler.CodeConflict, "this key already exists", "该密钥已存在")
	}
	return k.Key, err
}

// Key finds a key by its id; nil when there is none.
func (tx *Tx) Key(id hostler.KeyID) (*KeyRow, error) {
	return first(tx.keys(`WHERE k.id = ?`, id))
}

// KeyByHash finds a key by the hash of its secret; nil when there is none. The second
// result reports whether its user is disabled.
func (tx *Tx) KeyByHash(hash string) (*KeyRow, bool, error) {
	k, err := first(tx.keys(`WHERE k.hash = ?`, hash))
	if err != nil || k == nil {
		return nil, false, err
	}
	disabled, err := tx.exists(`SELECT id FROM users WHERE id = ? AND disabled = 1`, k.UserID)
	return k, disabled, err
}

// Keys lists keys, newest first, before an id (0 for the first): those of a user,
// and those that act in a project when it is not 0, or all of them when every is
// set.
func (tx *Tx) Keys(user hostler.UserID, project hostler.ProjectID, every bool,
	before hostler.KeyID, limit int,
) ([]KeyRow, error) {
	return tx.keys(`WHERE (? = 1 OR k.user_id = ? OR k.project = ?) AND (? = 1 OR k.id < ?) ORDER BY k.id DESC LIMIT ?`,
		every, user, project, before == 0, before, limit)
}

func (tx *Tx) keys(where string, args ...any) ([]KeyRow, error) {
	var out []KeyRow
	err := scanRows(tx, withColumns[keyColumns](`SELECT k.@cols, u.name, p.name FROM api_key k
JOIN users u ON u.id = k.user_id JOIN project p ON p.id = k.project `+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[keyColumns]) error {
			var c keyColumns
			k := KeyRow{}
			err := s.Scan(r, &c, &k.User, &k.Project)
			k.UserID, k.ProjectID = c.User, c.Project
			k.ID, k.Name, k.Role, k.Prefix = c.ID, c.Name, c.Role, c.Prefix
			k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsed = c.CreatedAt, c.ExpiresAt, c.RevokedAt, c.LastUsed
			out = append(out, k)
			return err
		})
	return out, err
}

// RolesOf lists a user's roles and the names of the projects.
func (tx *Tx) RolesOf(user hostler.UserID) (map[hostler.ProjectID]hostler.Role, map[hostler.ProjectID]string, error) {
	type roleRow struct {
		Project hostler.ProjectID `db:"x.project"`
		Role    hostler.Role      `db:"x.role"`
		Name    string            `db:"p.name"`
	}
	rows, err := query[roleRow](tx, `SELECT @cols FROM user_role x JOIN project p ON p.id = x.project
WHERE x.user_id = ?`, user)
	roles, names := map[hostler.ProjectID]hostler.Role{}, map[hostler.ProjectID]string{}
	for _, r := range rows {
		roles[r.Project], names[r.Project] = r.Role, r.Name
	}
	return roles, names, err
}

// RevokeKey revokes a key, now and for good.
func (tx *Tx) RevokeKey(id hostler.KeyID) error {
	_, err := tx.Exec(`UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at = 0`, sqldb.Micros(tx.now), id)
	return err
}

// ExpireKey sets when a key expires, unless it expires sooner.
func (tx *Tx) ExpireKey(id hostler.KeyID, at time.Time) error {
	_, err := tx.Exec(`UPDATE api_key SET expires_at = ? WHERE id = ? AND (expires_at = 0 OR expires_at > ?)`,
		sqldb.Micros(at), id, sqldb.Micros(at))
	return err
}

// TouchKey records the use of a key, unless a use since the given time is recorded
// already.
func (tx *Tx) TouchKey(id hostler.KeyID, before time.Time) error {
	_, err := tx.Exec(`UPDATE api_key SET last_used_at = ? WHERE id = ? AND last_used_at < ?`,
		sqldb.Micros(tx.now), id, sqldb.Micros(before))
	return err
}
