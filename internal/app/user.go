package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
	"hostler.dev/hostler/internal/store"
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
	return list(ctx, g, func(s *scope) (hostler.List[hostler.User], error) {
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

// checkRoles checks the names of roles by project; none allows to remove a role.
func checkRoles(fields *check.Fields, roles map[string]hostler.Role, none bool) {
	for _, project := range slices.Sorted(maps.Keys(roles)) {
		if none && roles[project] == hostler.RoleNone {
			continue
		}
		fields.Name("roles."+check.Key(project), string(roles[project]), 64)
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
		if err := s.setRole(user, id, "roles."+check.Key(name), roles[name]); err != nil {
			return err
		}
	}
	return nil
}

// setRole gives a user a built-in role, or one of the project; the path is that of the
// field in the input.
func (s *scope) setRole(user hostler.UserID, project hostler.ProjectID, path string, role hostler.Role) error {
	if role == hostler.RoleNone || slices.Contains(hostler.Roles(), role) {
		return s.SetRole(user, project, role, 0)
	}
	if err := s.LockProject(project); err != nil { // the role must not be deleted meanwhile
		return err
	}
	custom, err := s.CustomRole(project, string(role))
	if err != nil {
		return err
	}
	if custom == nil {
		return hostler.Invalid(path,
			"must be viewer, operator, approver, admin or a role of the project; see: hostler role list",
			"须为 viewer、operator、approver、admin 或该项目自定义的角色；参见：hostler role list")
	}
	return s.SetRole(user, project, custom.Base, custom.ID)
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

// cancelStepOfUser is how many jobs of a user one transaction cancels, cancelScan how many
// live jobs it reads to find them, and cancelRounds how many transactions one call makes.
const (
	cancelStepOfUser = 200
	cancelScan       = 5000
	cancelRounds     = 50
)

// CancelJobsOfUser cancels the jobs of a user in all projects: waiting ones at once, and
// running ones by request. A call cancels a bounded number; repeat it while there are
// more.
func (a *App) CancelJobsOfUser(ctx context.Context, c auth.Caller, name string) (hostler.JobsCancelled, error) {
	g, err := a.allow(c, auth.ManageAllUsers)
	if err != nil {
		return hostler.JobsCancelled{}, err
	}
	u, err := view(ctx, g, func(s *scope) (*hostler.User, error) { return s.user(name) })
	if err != nil {
		return hostler.JobsCancelled{}, err
	}
	var out hostler.JobsCancelled
	after := hostler.JobID(0)
	for range cancelRounds {
		found, err := change(ctx, g, func(s *scope) (store.JobsOfUser, error) { return s.cancelJobsOf(u, after) })
		if err != nil {
			return out, err
		}
		out.Cancelled += len(found.Jobs)
		if after = found.Next; after == 0 {
			return out, nil
		}
	}
	out.More = true
	return out, nil
}

// cancelJobsOf cancels the next live jobs of a user, and records it in their projects.
func (s *scope) cancelJobsOf(u *hostler.User, after hostler.JobID) (store.JobsOfUser, error) {
	found, err := s.LiveJobsOf(u.ID, u.Name, after, cancelStepOfUser, cancelScan)
	if err != nil {
		return found, err
	}
	s.unchanged() // unless a job was cancelled
	cancelled := map[hostler.ProjectID]int{}
	jobs := found.Jobs
	found.Jobs = nil
	for _, j := range jobs {
		_, err := s.CancelJob(j.ID, s.caller.User)
		switch hostler.CodeOf(err) {
		case "":
			found.Jobs = append(found.Jobs, j)
			cancelled[j.Project]++
		case hostler.CodeConflict, hostler.CodeNotFound: // it has ended, or its outcome is unknown
		default:
			return found, err
		}
	}
	for _, project := range slices.Sorted(maps.Keys(cancelled)) {
		if err := s.auditIn(project, "job.cancel_all", u.Name, map[string]any{"count": cancelled[project]}); err != nil {
			return found, err
		}
	}
	return found, nil
}
