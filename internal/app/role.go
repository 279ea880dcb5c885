package app

import (
	"context"
	"maps"
	"slices"
	"strings"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
)

// A custom role limits a built-in one to actions, and to assets by their labels. It
// belongs to a project, whose admins define it and give it to users and keys.
//
// The limits hold as follows. An asset outside the labels does not exist for the caller,
// and neither do the jobs on it: lists and selections leave them out, and a name or an id
// of one is not found. A job outside the actions is visible, but can be neither created
// nor changed. A role with labels permits no job without an asset, and no change of an
// asset: whoever decides what a label is on decides what the role includes. See
// [auth.Rule] for the other verbs.

const maxRoleValues = 50 // values of one label

// CustomRoles lists the roles of the acting project by name.
func (a *App) CustomRoles(
	ctx context.Context, c auth.Caller, p hostler.Page,
) (hostler.List[hostler.CustomRole], error) {
	g, err := a.allow(c, auth.ReadRole)
	if err != nil {
		return hostler.List[hostler.CustomRole]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.CustomRole]{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.List[hostler.CustomRole], error) {
		rows, err := s.Tx.CustomRoles(s.project, after, limit+1)
		items := make([]hostler.CustomRole, len(rows))
		for i := range rows {
			items[i] = rows[i].CustomRole
		}
		return cut(items, limit, func(r hostler.CustomRole) string { return r.Name }), err
	})
}

// CustomRole reads a role of the acting project.
func (a *App) CustomRole(ctx context.Context, c auth.Caller, name string) (hostler.CustomRole, error) {
	g, err := a.allow(c, auth.ReadRole)
	if err != nil {
		return hostler.CustomRole{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.CustomRole, error) {
		row, err := s.customRole(name)
		if err != nil {
			return hostler.CustomRole{}, err
		}
		return row.CustomRole, nil
	})
}

func (s *scope) customRole(name string) (*store.CustomRoleRow, error) {
	if !check.Storable(name) {
		return nil, hostler.NotFound(roleKind, name)
	}
	row, err := s.Tx.CustomRole(s.project, name)
	if err == nil && row == nil {
		err = hostler.NotFound(roleKind, name)
	}
	return row, err
}

// CreateCustomRole creates a role in the acting project.
func (a *App) CreateCustomRole(
	ctx context.Context, c auth.Caller, in hostler.CustomRoleInput,
) (hostler.CustomRole, error) {
	g, err := a.allow(c, auth.WriteRole)
	if err != nil {
		return hostler.CustomRole{}, err
	}
	var fields check.Fields
	fields.Name("name", in.Name, 64)
	fields.Require(!slices.Contains(hostler.Roles(), hostler.Role(in.Name)), "name",
		"is the name of a built-in role", "与内置角色同名")
	row := customRoleRow(&fields, in)
	if err := fields.Err(); err != nil {
		return hostler.CustomRole{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.CustomRole, error) {
		row := row
		row.ProjectID = s.project
		if _, err := s.InsertCustomRole(row); err != nil {
			return hostler.CustomRole{}, err
		}
		return s.recordRole("role.create", in.Name)
	})
}

// PutCustomRole replaces what a role permits. It holds for its users and keys within
// callerTTL, and for their queued jobs at once.
func (a *App) PutCustomRole(
	ctx context.Context, c auth.Caller, name string, in hostler.CustomRoleInput,
) (hostler.CustomRole, error) {
	g, err := a.allow(c, auth.WriteRole)
	if err != nil {
		return hostler.CustomRole{}, err
	}
	var fields check.Fields
	fields.Require(in.Name == "" || in.Name == name, "name", "cannot be changed", "不能修改")
	row := customRoleRow(&fields, in)
	if err := fields.Err(); err != nil {
		return hostler.CustomRole{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.CustomRole, error) {
		old, err := s.customRole(name)
		if err != nil {
			return hostler.CustomRole{}, err
		}
		next := row
		next.ID, next.ProjectID, next.Name, next.CreatedAt = old.ID, old.ProjectID, old.Name, old.CreatedAt
		if err := s.UpdateCustomRole(next); err != nil {
			return hostler.CustomRole{}, err
		}
		return s.recordRole("role.change", name)
	})
}

// recordRole reads what was written and records it in the audit.
func (s *scope) recordRole(verb, name string) (hostler.CustomRole, error) {
	row, err := s.customRole(name)
	if err != nil {
		return hostler.CustomRole{}, err
	}
	return row.CustomRole, s.audit(verb, name, map[string]any{
		"base": row.Base, "actions": row.Actions, "labels": row.Labels,
	})
}

// DeleteCustomRole deletes a role that no user and no valid key has.
func (a *App) DeleteCustomRole(ctx context.Context, c auth.Caller, name string) (hostler.CustomRole, error) {
	g, err := a.allow(c, auth.WriteRole)
	if err != nil {
		return hostler.CustomRole{}, err
	}
	return change(ctx, g, func(s *scope) (hostler.CustomRole, error) {
		if err := s.LockProject(s.project); err != nil {
			return hostler.CustomRole{}, err
		}
		row, err := s.customRole(name)
		if err != nil {
			return hostler.CustomRole{}, err
		}
		users, keys, err := s.CustomRoleUsers(row.ID)
		if err != nil {
			return hostler.CustomRole{}, err
		}
		if users+keys > 0 {
			return hostler.CustomRole{}, hostler.Errorf(hostler.CodeConflict,
				"the role %s is given to %d users and %d keys; give them another one first",
				"角色 %s 已授予 %d 个用户和 %d 个密钥；请先改授其他角色", name, users, keys)
		}
		if err := s.Tx.DeleteCustomRole(row.ID); err != nil {
			return hostler.CustomRole{}, err
		}
		return row.CustomRole, s.audit("role.delete", name, nil)
	})
}

// customRoleRow checks what a role permits and returns it as a row.
func customRoleRow(fields *check.Fields, in hostler.CustomRoleInput) store.CustomRoleRow {
	check.OneOf(fields, "base", in.Base, hostler.RoleViewer, hostler.RoleOperator, hostler.RoleApprover)
	checkActionPatterns(fields, "actions", in.Actions)
	fields.Count("labels", len(in.Labels), 20)
	row := store.CustomRoleRow{}
	row.Name, row.Base, row.Description = in.Name, in.Base, in.Description
	row.Actions = slices.Compact(slices.Sorted(slices.Values(in.Actions)))
	row.Labels = map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(in.Labels)) {
		path := "labels." + check.Key(key)
		fields.Name(path, strings.ReplaceAll(key, "/", "."), 63)
		fields.Count(path, len(in.Labels[key]), maxRoleValues)
		fields.Require(len(in.Labels[key]) > 0, path, "needs a value", "需要至少一个值")
		for i, v := range in.Labels[key] {
			fields.Line(check.Item(path, i), v, 128)
		}
		row.Labels[key] = slices.Compact(slices.Sorted(slices.Values(in.Labels[key])))
	}
	fields.Line("description", in.Description, 200)
	fields.Require(len(in.Actions)+len(in.Labels) > 0, "actions",
		"give actions or labels: a role without limits is the built-in one",
		"请指定 actions 或 labels：不加限制的角色即内置角色")
	return row
}

// checkActionPatterns checks patterns of actions: a name, or the beginning of one and a star.
func checkActionPatterns(fields *check.Fields, path string, patterns []string) {
	fields.Count(path, len(patterns), 100)
	for i, p := range patterns {
		name, _ := strings.CutSuffix(p, "*")
		fields.Line(check.Item(path, i), p, 64)
		fields.Require(p != "" && !strings.Contains(name, "*"), check.Item(path, i),
			"must be the name of an action, or its beginning with a star at the end, such as ssh_*",
			"须为动作名，或以星号结尾的前缀，如 ssh_*")
	}
}
