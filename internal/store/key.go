package store

import (
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// KeyRow is an API key as stored: the hash of its secret and whose it is.
type KeyRow struct {
	hostler.Key
	UserID    hostler.UserID
	ProjectID hostler.ProjectID
	Hash      string // written, never read back
}

// InsertKey stores a key and returns it as people see it. User and Project are
// names for the answer only.
func (tx *Tx) InsertKey(k KeyRow) (hostler.Key, error) {
	id, err := tx.NewID()
	if err != nil {
		return hostler.Key{}, err
	}
	k.ID, k.CreatedAt = hostler.KeyID(id), tx.now
	var expires int64
	if k.ExpiresAt != nil {
		expires = sqldb.Micros(*k.ExpiresAt)
	}
	n, err := tx.Exec(`INSERT INTO api_key (id, user_id, name, project, role, prefix, hash, created_at, expires_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING`,
		id, k.UserID, k.Name, k.ProjectID, k.Role, k.Prefix, k.Hash, sqldb.Micros(tx.now), expires)
	if err == nil && n == 0 {
		err = hostler.Errorf(hostler.CodeConflict, "this key is stored already", "该密钥已存在")
	}
	return k.Key, err
}

// Key finds a key by its id; nil when there is none.
func (tx *Tx) Key(id hostler.KeyID) (*KeyRow, error) {
	return first(tx.keys(`WHERE k.id = ?`, id))
}

// KeyByHash finds a key by the hash of its secret; nil when there is none. The
// second result says that its user is disabled.
func (tx *Tx) KeyByHash(hash string) (*KeyRow, bool, error) {
	k, err := first(tx.keys(`WHERE k.hash = ?`, hash))
	if err != nil || k == nil {
		return nil, false, err
	}
	var disabled int64
	_, err = tx.one(`SELECT disabled FROM users WHERE id = ?`, []any{k.UserID}, &disabled)
	return k, disabled != 0, err
}

// Keys lists keys, newest first, before an id (0 for the first): those of a user,
// and those that act in a project when it is not 0, or all of them when every is
// set.
func (tx *Tx) Keys(user hostler.UserID, project hostler.ProjectID, every bool, before hostler.KeyID, limit int) ([]KeyRow, error) {
	return tx.keys(`WHERE (? = 1 OR k.user_id = ? OR k.project = ?) AND (? = 1 OR k.id < ?) ORDER BY k.id DESC LIMIT ?`,
		every, user, project, before == 0, before, limit)
}

func (tx *Tx) keys(where string, args ...any) ([]KeyRow, error) {
	var out []KeyRow
	err := tx.each(`SELECT k.id, k.user_id, u.name, k.name, k.project, p.name, k.role, k.prefix, k.created_at, k.expires_at, k.revoked_at, k.last_used_at
FROM api_key k JOIN users u ON u.id = k.user_id JOIN project p ON p.id = k.project `+where, args, func(r sqldb.Rows) error {
		var k KeyRow
		var id, user, project, created, expires, revoked, used int64
		var role string
		err := r.Scan(&id, &user, &k.User, &k.Name, &project, &k.Project, &role, &k.Prefix, &created, &expires, &revoked, &used)
		k.ID, k.UserID, k.ProjectID, k.Role = hostler.KeyID(id), hostler.UserID(user), hostler.ProjectID(project), hostler.Role(role)
		k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsed = sqldb.Time(created), timePtr(expires), timePtr(revoked), timePtr(used)
		out = append(out, k)
		return err
	})
	return out, err
}

// RolesOf lists a user's roles and the names of the projects.
func (tx *Tx) RolesOf(user hostler.UserID) (map[hostler.ProjectID]hostler.Role, map[hostler.ProjectID]string, error) {
	roles, names := map[hostler.ProjectID]hostler.Role{}, map[hostler.ProjectID]string{}
	err := tx.each(`SELECT x.project, x.role, p.name FROM user_role x JOIN project p ON p.id = x.project WHERE x.user_id = ?`,
		[]any{user}, func(r sqldb.Rows) error {
			var project int64
			var role, name string
			err := r.Scan(&project, &role, &name)
			roles[hostler.ProjectID(project)], names[hostler.ProjectID(project)] = hostler.Role(role), name
			return err
		})
	return roles, names, err
}

// RevokeKey ends a key now, for good.
func (tx *Tx) RevokeKey(id hostler.KeyID) error {
	_, err := tx.Exec(`UPDATE api_key SET revoked_at = ? WHERE id = ? AND revoked_at = 0`, sqldb.Micros(tx.now), id)
	return err
}

// ExpireKey lets a key end at a time, unless it ends sooner.
func (tx *Tx) ExpireKey(id hostler.KeyID, at time.Time) error {
	_, err := tx.Exec(`UPDATE api_key SET expires_at = ? WHERE id = ? AND (expires_at = 0 OR expires_at > ?)`, sqldb.Micros(at), id, sqldb.Micros(at))
	return err
}

// TouchKey notes that a key was used, when that was last noted before the given
// time.
func (tx *Tx) TouchKey(id hostler.KeyID, before time.Time) error {
	_, err := tx.Exec(`UPDATE api_key SET last_used_at = ? WHERE id = ? AND last_used_at < ?`, sqldb.Micros(tx.now), id, sqldb.Micros(before))
	return err
}

// first is the only row of a query for one.
func first[T any](all []T, err error) (*T, error) {
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}
