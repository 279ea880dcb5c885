package store

import (
	"strconv"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var userWord = hostler.Text{EN: "user", ZH: "用户"}

func quote(s string) string { return strconv.Quote(s) }

// InsertUser creates a user without roles. CodeConflict: the name is taken.
func (tx *Tx) InsertUser(name string) (hostler.UserID, error) {
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	n, err := tx.Exec(`INSERT INTO users (id, name, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING`,
		id, name, sqldb.Micros(tx.now))
	if err == nil && n == 0 {
		err = errTaken(userWord, name)
	}
	return hostler.UserID(id), err
}

// UserByName finds a user with all roles; nil when there is none.
func (tx *Tx) UserByName(name string) (*hostler.User, error) {
	return first(tx.users(`WHERE name = ?`, name))
}

// Users lists users by name after a name: those with a role in the project, or
// all of them when project is 0.
func (tx *Tx) Users(project hostler.ProjectID, after string, limit int) ([]hostler.User, error) {
	return tx.users(`WHERE (? = 1 OR EXISTS (SELECT 1 FROM user_role x WHERE x.user_id = users.id AND x.project = ?))
AND name > ? ORDER BY name LIMIT ?`, project == 0, project, after, limit)
}

func (tx *Tx) users(where string, args ...any) ([]hostler.User, error) {
	type userRow struct {
		ID        hostler.UserID `db:"id"`
		Name      string         `db:"name"`
		Disabled  bool           `db:"disabled"`
		CreatedAt time.Time      `db:"created_at"`
	}
	type roleRow struct {
		User    hostler.UserID `db:"x.user_id"`
		Project string         `db:"p.name"`
		Role    hostler.Role   `db:"COALESCE(r.name, x.role)"`
	}
	rows, err := query[userRow](tx, `SELECT @cols FROM users `+where, args...)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	out := make([]hostler.User, len(rows))
	ids := make([]hostler.UserID, len(rows))
	at := make(map[hostler.UserID]*hostler.User, len(rows))
	for i, r := range rows {
		out[i] = hostler.User{
			ID: r.ID, Name: r.Name, Disabled: r.Disabled, CreatedAt: r.CreatedAt, Roles: map[string]hostler.Role{},
		}
		ids[i], at[r.ID] = r.ID, &out[i]
	}
	roles, err := query[roleRow](tx, `SELECT @cols`+fromUserRole+`WHERE x.user_id IN ?*`, ids)
	for _, r := range roles {
		at[r.User].Roles[r.Project] = r.Role
	}
	return out, err
}

// SetUserDisabled disables or enables a user.
func (tx *Tx) SetUserDisabled(id hostler.UserID, disabled bool) error {
	if _, err := tx.Exec(`UPDATE users SET disabled = ? WHERE id = ?`, disabled, id); err != nil {
		return err
	}
	return tx.rightsChanged()
}

// LockUser locks a user, so that two transactions cannot both count the user's keys
// before they create one.
func (tx *Tx) LockUser(id hostler.UserID) error {
	_, err := tx.exists(`SELECT id FROM users WHERE id = ? FOR UPDATE`, id)
	return err
}

// CountAdmins counts the enabled admins of a project. To decide by it, lock the
// project first.
func (tx *Tx) CountAdmins(project hostler.ProjectID) (int, error) {
	var n int
	_, err := tx.one(`SELECT count(*) FROM user_role x JOIN users u ON u.id = x.user_id
WHERE x.project = ? AND x.role = 'admin' AND u.disabled = 0`, []any{project}, &n)
	return n, err
}
