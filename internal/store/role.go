package store

import (
	"encoding/json"
	"fmt"
	"time"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/sqldb"
)

var roleWord = hostler.Text{EN: "role", ZH: "角色"}

// CustomRoleRow is a role that a project defines, as stored.
type CustomRoleRow struct {
	hostler.CustomRole
	ID        hostler.CustomRoleID
	ProjectID hostler.ProjectID
}

// roleColumns are the columns of table custom_role.
type roleColumns struct {
	ID          hostler.CustomRoleID `db:"id"`
	Project     hostler.ProjectID    `db:"project"`
	Name        string               `db:"name"`
	Base        hostler.Role         `db:"base"`
	Actions     string               `db:"actions"` // JSON
	Labels      string               `db:"labels"`  // JSON
	Description string               `db:"description"`
	CreatedAt   time.Time            `db:"created_at"`
	UpdatedAt   time.Time            `db:"updated_at"`
}

func (r *CustomRoleRow) columns() (roleColumns, error) {
	actions, err := json.Marshal(r.Actions)
	if err != nil {
		return roleColumns{}, fmt.Errorf("encode the actions of a role: %w", err)
	}
	labels, err := json.Marshal(r.Labels)
	if err != nil {
		return roleColumns{}, fmt.Errorf("encode the labels of a role: %w", err)
	}
	return roleColumns{
		r.ID, r.ProjectID, r.Name, r.Base, string(actions), string(labels), r.Description, r.CreatedAt, r.UpdatedAt,
	}, nil
}

// row returns a stored role as the store's callers see it. The column is empty when a
// user or a key has no custom role.
func (c *roleColumns) row() (CustomRoleRow, error) {
	out := CustomRoleRow{ID: c.ID, ProjectID: c.Project}
	out.Name, out.Base, out.Description = c.Name, c.Base, c.Description
	out.CreatedAt, out.UpdatedAt = c.CreatedAt, c.UpdatedAt
	limit, err := decodeLimit(c.Actions, c.Labels)
	out.Actions, out.Labels = limit.Actions, limit.Labels
	return out, err
}

// decodeLimit reads the limit of a role; empty texts are no limit.
func decodeLimit(actions, labels string) (l hostler.RoleLimit, err error) {
	if actions != "" {
		err = json.Unmarshal([]byte(actions), &l.Actions)
	}
	if err == nil && labels != "" {
		err = json.Unmarshal([]byte(labels), &l.Labels)
	}
	if err != nil {
		return l, fmt.Errorf("decode the limit of a role: %w", err)
	}
	return l, nil
}

// InsertCustomRole creates a role. CodeConflict: the name is taken.
func (tx *Tx) InsertCustomRole(r CustomRoleRow) (hostler.CustomRoleID, error) {
	id, err := tx.NewID()
	if err != nil {
		return 0, err
	}
	r.ID, r.CreatedAt, r.UpdatedAt = hostler.CustomRoleID(id), tx.now, tx.now
	cols, err := r.columns()
	if err != nil {
		return 0, err
	}
	n, err := insertNew(tx, "custom_role", "project, name", []roleColumns{cols})
	if err == nil && n == 0 {
		err = errTaken(roleWord, r.Name)
	}
	return r.ID, err
}

// UpdateCustomRole replaces a role by its id. Jobs whose user has lost the right to run
// them do not start from then on.
func (tx *Tx) UpdateCustomRole(r CustomRoleRow) error {
	cols, err := r.columns()
	if err != nil {
		return err
	}
	cols.UpdatedAt = tx.now
	_, err = execRows(tx, `UPDATE custom_role SET base = v.base, actions = v.actions, labels = v.labels,
description = v.description, updated_at = v.updated_at FROM @rows WHERE custom_role.id = v.id`, []roleColumns{cols})
	if err != nil {
		return err
	}
	return tx.rightsChanged()
}

// DeleteCustomRole deletes a role that no user and no valid key has.
func (tx *Tx) DeleteCustomRole(id hostler.CustomRoleID) error {
	_, err := tx.Exec(`DELETE FROM custom_role WHERE id = ?`, id)
	return err
}

// CustomRoleUsers counts the users and the valid keys that have a role, to a hundred
// each. To decide by it, lock the project first.
func (tx *Tx) CustomRoleUsers(id hostler.CustomRoleID) (users, keys int, err error) {
	_, err = tx.one(`SELECT (SELECT count(*) FROM (SELECT 1 FROM user_role WHERE custom = ? LIMIT 100) u),
(SELECT count(*) FROM (SELECT 1 FROM api_key WHERE custom = ? AND revoked_at = 0
AND (expires_at = 0 OR expires_at > ?) LIMIT 100) k)`, []any{id, id, sqldb.Micros(tx.now)}, &users, &keys)
	return users, keys, err
}

// CustomRole finds a role of a project by its name; nil when there is none.
func (tx *Tx) CustomRole(project hostler.ProjectID, name string) (*CustomRoleRow, error) {
	return first(tx.customRoles(`WHERE custom_role.project = ? AND custom_role.name = ?`, project, name))
}

// CustomRoles lists the roles of a project by name after a name.
func (tx *Tx) CustomRoles(project hostler.ProjectID, after string, limit int) ([]CustomRoleRow, error) {
	return tx.customRoles(`WHERE custom_role.project = ? AND custom_role.name > ? ORDER BY custom_role.name LIMIT ?`, project, after, limit)
}

func (tx *Tx) customRoles(where string, args ...any) ([]CustomRoleRow, error) {
	type named struct {
		roleColumns
		ProjectName string `db:"(SELECT p.name FROM project p WHERE p.id = custom_role.project)"`
	}
	rows, err := query[named](tx, `SELECT @cols FROM custom_role `+where, args...)
	out := make([]CustomRoleRow, 0, len(rows))
	for i := range rows {
		r, err := rows[i].row()
		if err != nil {
			return nil, err
		}
		r.Project = rows[i].ProjectName
		out = append(out, r)
	}
	return out, err
}

// UserRole is a user's role in a project.
type UserRole struct {
	Project     hostler.ProjectID
	ProjectName string
	Role        hostler.Role // built-in, or the base of the custom one
	Custom      string       // name of the custom role; "" for a built-in one
	Limit       hostler.RoleLimit
}

// userRoleRow is what a user's role in a project is read from.
type userRoleRow struct {
	Project hostler.ProjectID `db:"x.project"`
	Name    string            `db:"p.name"`
	Role    hostler.Role      `db:"COALESCE(r.base, x.role)"`
	Custom  string            `db:"COALESCE(r.name, '')"`
	Actions string            `db:"COALESCE(r.actions, '')"`
	Labels  string            `db:"COALESCE(r.labels, '')"`
}

func (r *userRoleRow) role() (UserRole, error) {
	limit, err := decodeLimit(r.Actions, r.Labels)
	return UserRole{Project: r.Project, ProjectName: r.Name, Role: r.Role, Custom: r.Custom, Limit: limit}, err
}

const fromUserRole = ` FROM user_role x JOIN project p ON p.id = x.project LEFT JOIN custom_role r ON r.id = x.custom `

// RolesOf lists a user's roles.
func (tx *Tx) RolesOf(user hostler.UserID) ([]UserRole, error) {
	var out []UserRole
	err := queryEach(tx, `SELECT @cols`+fromUserRole+`WHERE x.user_id = ?`, []any{user}, func(r *userRoleRow) error {
		role, err := r.role()
		out = append(out, role)
		return err
	})
	return out, err
}

// SetRole gives a user a role in a project: a built-in one, or a custom one with its id;
// RoleNone removes it.
func (tx *Tx) SetRole(
	id hostler.UserID, project hostler.ProjectID, role hostler.Role, custom hostler.CustomRoleID,
) error {
	if err := tx.rightsChanged(); err != nil {
		return err
	}
	if role == hostler.RoleNone {
		_, err := tx.Exec(`DELETE FROM user_role WHERE user_id = ? AND project = ?`, id, project)
		return err
	}
	if custom != 0 {
		role = hostler.RoleViewer
	}
	_, err := tx.Exec(`INSERT INTO user_role (user_id, project, role, custom) VALUES (?, ?, ?, ?)
ON CONFLICT (user_id, project) DO UPDATE SET role = excluded.role, custom = excluded.custom`, id, project, role, custom)
	return err
}
