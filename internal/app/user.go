package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// An admin of the default project manages every user. An admin of another project
// lists its users, creates users, and sets roles in the projects that it is an admin
// of.

// Users lists the users of the acting project; all of them for an admin of the
// default project.
func (a *App) Users(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.User], error) {
	g, err := a.allow(c, auth.ManageUsers)
	if err != nil {
		return hostler.List[hostler.User]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.User]{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.List[hostler.User], error) {
		project := s.project
		if g.may(auth.ManageAllUsers) {
			project = 0
		}
		items, err := s.Users(project, after, limit+1)
		for i := range items {
			g.hideRoles(&items[i])
		}
		return cut(items, limit, func(u hostler.User) string { return u.Name }), err
	})
}

// hideRoles removes the roles in projects that the caller is not an admin of.
func (g grant) hideRoles(u *hostler.User) {
	if g.may(auth.ManageAllUsers) {
		return
	}
	managed := map[string]bool{}
	for id, name := range g.caller.Projects {
		managed[name] = auth.Allow(g.caller, auth.ManageUsers, id)
	}
	maps.DeleteFunc(u.Roles, func(project string, _ hostler.Role) bool { return !managed[project] })
}

// User reads one user.
func (a *App) User(ctx context.Context, c auth.Caller, name string) (hostler.User, error) {
	g, err := a.allow(c, auth.ManageUsers)
	if err != nil {
		return hostler.User{}, err
	}
	return view(ctx, g, func(s *scope) (hostler.User, error) {
		u, err := s.user(name)
		if err != nil {
			return hostler.User{}, err
		}
		g.hideRoles(u)
		return *u, nil
	})
}

// user finds a user that the caller may see, with all roles.
func (s *scope) user(name string) (*hostler.User, error) {
	if !check.Storable(name) {
		return nil, hostler.NotFound(userKind, name)
	}
	u, err := s.UserByName(name)
	if err != nil {
		return nil, err
	}
	if u == nil || (u.Roles[s.caller.ProjectName] == hostler.RoleNone && !s.may(auth.ManageAllUsers)) {
		return nil, hostler.NotFound(userKind, name)
	}
	return u, nil
}

// CreateUser creates a user with roles in projects that the caller is an admin of.
func (a *App) CreateUser(ctx context.Context, c auth.Caller, in hostler.UserInput) (hostler.User, error) {
	g, err := a.allow(c, auth.ManageUsers)
	if err != nil {
		return hostler.User{}, err
	}
	var fields check.Fields
	fields.Name("name", in.Name, 64)
	checkRoles(&fields, in.Roles, false)
	if err := fields.Err(); err != nil {
		return hostler.User{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.User, error) {
		id, err := s.InsertUser(in.Name)
		if err != nil {
			return hostler.User{}, err
		}
		if err := s.setRoles(id, in.Roles); err != nil {
			return hostler.User{}, err
		}
		if err := s.audit("user.create", in.Name, map[string]any{"roles": in.Roles}); err != nil {
			return hostler.User{}, err
		}
		return s.reread(in.Name)
	})
}

// checkRoles checks roles by project; none allows to remove a role.
func checkRoles(fields *check.Fields, roles map[string]hostler.Role, none bool) {
	allowed := hostler.Roles()
	if none {
		allowed = append(allowed, hostler.RoleNone)
	}
	for _, project := range slices.Sorted(maps.Keys(roles)) {
		check.OneOf(fields, "roles."+project, roles[project], allowed...)
	}
}

// setRoles sets the role in each project; RoleNone removes it. A project that the
// caller does not manage is refused like one that does not exist.
func (s *scope) setRoles(user hostler.UserID, roles map[string]hostler.Role) error {
	names := slices.Sorted(maps.Keys(roles))
	ids := map[string]hostler.ProjectID{}
	if s.may(auth.ManageAllUsers) {
		var err error
		storable := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !check.Storable(n) })
		if ids, err = s.ProjectIDs(storable); err != nil {
			return err
		}
	} else {
		for id, name := range s.caller.Projects {
			if auth.Allow(s.caller, auth.ManageUsers, id) {
				ids[name] = id
			}
		}
	}
	for _, name := range names {
		id, ok := ids[name]
		if !ok {
			return hostler.NotFound(projectKind, name)
		}
		if err := s.SetRole(user, id, roles[name]); err != nil {
			return err
		}
	}
	return nil
}

// reread reads a user after a change, as the caller may see it.
func (s *scope) reread(name string) (hostler.User, error) {
	u, err := s.UserByName(name)
	if err != nil || u == nil {
		return hostler.User{}, err
	}
	s.hideRoles(u)
	return *u, nil
}

// ChangeUser disables or enables a user, and sets roles. Only an admin of the default
// project may disable a user, and the last one cannot be removed.
func (a *App) ChangeUser(
	ctx context.Context, c auth.Caller, name string, ch hostler.UserChange,
) (hostler.User, error) {
	g, err := a.allow(c, auth.ManageUsers)
	if err != nil {
		return hostler.User{}, err
	}
	if ch.Disabled != nil {
		if _, err := a.allow(c, auth.ManageAllUsers); err != nil {
			return hostler.User{}, err
		}
	}
	var fields check.Fields
	checkRoles(&fields, ch.Roles, true)
	if err := fields.Err(); err != nil {
		return hostler.User{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.User, error) { return s.changeUser(name, ch) })
}

func (s *scope) changeUser(name string, ch hostler.UserChange) (hostler.User, error) {
	// The lock serialises changes that may remove an admin, so that two of them cannot
	// both see the other admin and remove the last two.
	if err := s.LockProject(s.caller.Default); err != nil {
		return hostler.User{}, err
	}
	u, err := s.user(name)
	if err != nil {
		return hostler.User{}, err
	}
	if ch.Disabled != nil {
		if err := s.SetUserDisabled(u.ID, *ch.Disabled); err != nil {
			return hostler.User{}, err
		}
	}
	if err := s.setRoles(u.ID, ch.Roles); err != nil {
		return hostler.User{}, err
	}
	admins, err := s.CountAdmins(s.caller.Default)
	if err != nil {
		return hostler.User{}, err
	}
	if admins == 0 {
		return hostler.User{}, hostler.Errorf(hostler.CodeConflict,
			"%s is the last admin of the project %s; add another admin first",
			"%s 是项目 %s 的最后一个管理员；请先指定另一个管理员", u.Name, hostler.DefaultProject)
	}
	if err := s.audit("user.change", u.Name, ch); err != nil {
		return hostler.User{}, err
	}
	return s.reread(u.Name)
}
