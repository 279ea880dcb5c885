package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

// KeyRow is an API key as stored, with the hash of its secret and its user. Its Role and
// EffectiveRole are names as people see them.
type KeyRow struct {
	hostler.Key
	UserID     hostler.UserID
	ProjectID  hostler.ProjectID
	ProjectIDs []hostler.ProjectID // the only projects that it may act in; none: all
	// Base is the built-in role, or the one that the custom role limits.
	Base   hostler.Role
	Custom hostler.CustomRoleID // 0: a built-in role
	Limit  hostler.RoleLimit    // of the custom role
	Hash   string               // written, never read back
	// Local: a server renews it for the command line on its machine.
	Local bool
}

// keyColumns are the columns of table api_key, but for the hash.
type keyColumns struct {
	ID        hostler.KeyID        `db:"id"`
	User      hostler.UserID       `db:"user_id"`
	Name      string               `db:"name"`
	Project   hostler.ProjectID    `db:"project"`
	Role      hostler.Role         `db:"role"`
	Custom    hostler.CustomRoleID `db:"custom"`
	Parent    hostler.KeyID        `db:"parent"`
	Projects  string               `db:"projects"` // a JSON list of ids, or empty
	Actions   string               `db:"actions"`  // a JSON list, or empty
	Prefix    string               `db:"prefix"`
	CreatedAt time.Time            `db:"created_at"`
	ExpiresAt *time.Time           `db:"expires_at"`
	RevokedAt *time.Time           `db:"revoked_at"`
	LastUsed  *time.Time           `db:"last_used_at"`
	Local     bool                 `db:"local"`
}

// InsertKey stores a key and returns it as people see it. User, Project and Role are
// names for the answer only. A key with a custom role has the role viewer beside it, as
// a user has; see [Tx.SetRole].
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
		ID: k.ID, User: k.UserID, Name: k.Name, Project: k.ProjectID, Role: k.Base, Custom: k.Custom,
		Parent: k.Parent, Prefix: k.Prefix, CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt,
		Local: k.Local,
	}
	if k.Custom != 0 {
		cols.Role = hostler.RoleViewer
	}
	if cols.Projects, err = encodeList(k.ProjectIDs); err != nil {
		return hostler.Key{}, err
	}
	if cols.Actions, err = encodeList(k.Actions); err != nil {
		return hostler.Key{}, err
	}
	n, err := insertNew(tx, "api_key", "hash", []newKey{{cols, k.Hash}})
	if err == nil && n == 0 {
		err = hostler.Errorf(hostler.CodeConflict, "this key already exists", "该密钥已存在")
	}
	return k.Key, err
}

// encodeList is a list as stored: JSON, or nothing when it is empty.
func encodeList[T any](list []T) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("encode a list: %w", err)
	}
	return string(b), nil
}

func decodeList[T any](s string) (list []T, err error) {
	if s == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return nil, fmt.Errorf("decode a list: %w", err)
	}
	return list, nil
}

// DeleteLocalKeys deletes local keys that expired before a time.
func (tx *Tx) DeleteLocalKeys(before time.Time) error {
	_, err := tx.Exec(`DELETE FROM api_key WHERE local = 1 AND expires_at <> 0 AND expires_at < ?`, sqldb.Micros(before))
	return err
}

// Key finds a key by its id; nil when there is none.
func (tx *Tx) Key(id hostler.KeyID) (*KeyRow, error) {
	return first(tx.keys(`WHERE k.id = ?`, id))
}

// LockKey is [Tx.Key], with the key locked against a revocation by another transaction
// until this one ends: a key that creates another must not be revoked meanwhile.
func (tx *Tx) LockKey(id hostler.KeyID) (*KeyRow, error) {
	if _, err := tx.exists(`SELECT id FROM api_key WHERE id = ? FOR UPDATE`, id); err != nil {
		return nil, err
	}
	return tx.Key(id)
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

// ValidKeys returns which of the hashes are those of valid keys.
func (tx *Tx) ValidKeys(hashes []string) ([]string, error) {
	return column[string](tx, `SELECT k.hash FROM api_key k JOIN users u ON u.id = k.user_id
WHERE k.hash IN ?* AND k.revoked_at = 0 AND (k.expires_at = 0 OR k.expires_at > ?) AND u.disabled = 0`,
		hashes, sqldb.Micros(tx.now))
}

// KeyQuery selects keys.
type KeyQuery struct {
	User    hostler.UserID    // keys of the user,
	Project hostler.ProjectID // or that act in the project, when it is not 0,
	Every   bool              // or all of them
	// Within are the only projects whose keys are listed; none: all.
	Within []hostler.ProjectID
}

// Keys lists keys, newest first, before an id (0 for the first).
func (tx *Tx) Keys(q KeyQuery, before hostler.KeyID, limit int) ([]KeyRow, error) {
	return tx.keys(`WHERE (? = 1 OR k.user_id = ? OR k.project = ?) AND (? = 1 OR k.project IN ?*)
AND (? = 1 OR k.id < ?) ORDER BY k.id DESC LIMIT ?`,
		q.Every, q.User, q.Project, len(q.Within) == 0, q.Within, before == 0, before, limit)
}

// CountKeys counts the valid keys of a user, to a limit. To decide by it, lock the user
// first.
func (tx *Tx) CountKeys(user hostler.UserID, limit int) (n int, err error) {
	_, err = tx.one(`SELECT count(*) FROM (SELECT 1 FROM api_key WHERE user_id = ? AND revoked_at = 0
AND (expires_at = 0 OR expires_at > ?) LIMIT ?) k`, []any{user, sqldb.Micros(tx.now), limit}, &n)
	return n, err
}

// selectKeys reads keys k with their users u and projects p, the custom role c of the
// key, and the role of the user in the key's project: x, with its custom role r.
const selectKeys = `SELECT k.@cols, u.name, u.disabled, p.name, COALESCE(c.name, ''), COALESCE(c.base, k.role),
COALESCE(c.actions, ''), COALESCE(c.labels, ''), COALESCE(r.base, x.role, ''), COALESCE(r.name, '')
FROM api_key k JOIN users u ON u.id = k.user_id JOIN project p ON p.id = k.project
LEFT JOIN custom_role c ON c.id = k.custom
LEFT JOIN user_role x ON x.user_id = k.user_id AND x.project = k.project
LEFT JOIN custom_role r ON r.id = x.custom `

// keyContext is what else is read with a key.
type keyContext struct {
	user, project, custom, actions, labels, userCustom string
	disabled                                           bool
	base, userRole                                     hostler.Role
}

func (tx *Tx) keys(where string, args ...any) ([]KeyRow, error) {
	var out []KeyRow
	err := scanRows(tx, withColumns[keyColumns](selectKeys+where), args,
		func(r sqldb.Rows, s *sqldb.Scanner[keyColumns]) error {
			var c keyColumns
			var x keyContext
			err := s.Scan(r, &c, &x.user, &x.disabled, &x.project, &x.custom, &x.base, &x.actions, &x.labels,
				&x.userRole, &x.userCustom)
			if err != nil {
				return err
			}
			k, err := c.row(x, tx.now)
			out = append(out, k)
			return err
		})
	if err != nil {
		return nil, err
	}
	return out, tx.nameProjects(out)
}

// row returns a stored key as the store's callers see it.
func (c *keyColumns) row(x keyContext, now time.Time) (KeyRow, error) {
	k := KeyRow{UserID: c.User, ProjectID: c.Project, Base: x.base, Custom: c.Custom, Local: c.Local}
	k.ID, k.Name, k.User, k.Project, k.Prefix, k.Parent = c.ID, c.Name, x.user, x.project, c.Prefix, c.Parent
	k.CreatedAt, k.ExpiresAt, k.RevokedAt, k.LastUsed = c.CreatedAt, c.ExpiresAt, c.RevokedAt, c.LastUsed
	k.Role = c.Role
	if c.Custom != 0 {
		k.Role = hostler.Role(x.custom)
	}
	if x.custom == "" && c.Custom != 0 { // its role was deleted
		k.Base = hostler.RoleNone
	}
	valid := !x.disabled && c.RevokedAt == nil && (c.ExpiresAt == nil || now.Before(*c.ExpiresAt))
	if valid {
		k.EffectiveRole = effectiveRole(k, x)
	}
	var err error
	if k.ProjectIDs, err = decodeList[hostler.ProjectID](c.Projects); err != nil {
		return k, err
	}
	if k.Actions, err = decodeList[string](c.Actions); err != nil {
		return k, err
	}
	k.Limit, err = decodeLimit(x.actions, x.labels)
	return k, err
}

// effectiveRole names what a valid key permits in its project: the lower one of its role
// and its user's, or both when each is limited in its own way.
func effectiveRole(k KeyRow, x keyContext) hostler.Role {
	switch {
	case k.Base == hostler.RoleNone || x.userRole == hostler.RoleNone:
		return hostler.RoleNone
	case x.userCustom != "" && k.Custom != 0 && x.custom != x.userCustom:
		return hostler.Role(x.custom + " and " + x.userCustom)
	case x.userCustom != "" && k.Base.Includes(x.userRole):
		return hostler.Role(x.userCustom)
	case k.Custom != 0 && x.userRole.Includes(k.Base):
		return k.Role
	case !k.Base.Includes(x.userRole):
		return k.Base
	default:
		return x.userRole
	}
}

// nameProjects sets the names of the projects that keys are restricted to.
func (tx *Tx) nameProjects(keys []KeyRow) error {
	names := map[hostler.ProjectID]string{}
	for _, k := range keys {
		for _, id := range k.ProjectIDs {
			names[id] = ""
		}
	}
	if len(names) == 0 {
		return nil
	}
	ids := make([]hostler.ProjectID, 0, len(names))
	for id := range names {
		ids = append(ids, id)
	}
	all, err := tx.projects(`WHERE id IN ?*`, ids)
	if err != nil {
		return err
	}
	for _, p := range all {
		names[p.ID] = p.Name
	}
	for i := range keys {
		for _, id := range keys[i].ProjectIDs {
			keys[i].Projects = append(keys[i].Projects, names[id])
		}
	}
	return nil
}

// RevokeKey revokes a key for good, with the keys that it created, and those that they
// created. It returns how many it revoked.
func (tx *Tx) RevokeKey(id hostler.KeyID) (total int64, err error) {
	// Again until nothing is left: a statement does not see a key that another transaction
	// has created while it waited for the lock of its parent; see LockKey.
	for {
		n, err := tx.Exec(`UPDATE api_key SET revoked_at = ? WHERE revoked_at = 0 AND id IN (
WITH RECURSIVE family(id) AS (SELECT k.id FROM api_key k WHERE k.id = ?
UNION SELECT k.id FROM api_key k JOIN family f ON k.parent = f.id WHERE k.parent <> 0) SELECT id FROM family)`,
			sqldb.Micros(tx.now), id)
		if err != nil || n == 0 {
			return total, err
		}
		total += n
	}
}

// AdoptKeys makes the keys that one key created those of another: of its successor.
func (tx *Tx) AdoptKeys(old, successor hostler.KeyID) error {
	_, err := tx.Exec(`UPDATE api_key SET parent = ? WHERE parent = ? AND id <> ?`, successor, old, successor)
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
