package app

import (
	"context"
	"maps"
	"slices"

	"hostler.dev/hostler"
	"hostler.dev/hostler/internal/auth"
	"hostler.dev/hostler/internal/check"
)

// Projects lists the projects in which the caller has a role; all of them for an
// admin of the default project.
func (a *App) Projects(ctx context.Context, c auth.Caller, p hostler.Page) (hostler.List[hostler.Project], error) {
	g, err := a.allow(c, auth.ReadProject)
	if err != nil {
		return hostler.List[hostler.Project]{}, err
	}
	after, limit, err := pageOf(p)
	if err != nil {
		return hostler.List[hostler.Project]{}, err
	}
	return list(ctx, g, func(s *scope) (hostler.List[hostler.Project], error) {
		mine := slices.Collect(maps.Keys(c.Roles))
		mine = slices.DeleteFunc(mine, func(id hostler.ProjectID) bool { return c.RoleIn(id) == hostler.RoleNone })
		items, err := s.Projects(mine, g.may(auth.CreateProject), after, limit+1)
		return cut(items, limit, func(p hostler.Project) string { return p.Name }), err
	})
}

// CreateProject creates a project; the caller becomes its admin.
func (a *App) CreateProject(ctx context.Context, c auth.Caller, in hostler.ProjectInput) (hostler.Project, error) {
	g, err := a.allow(c, auth.CreateProject)
	if err != nil {
		return hostler.Project{}, err
	}
	var fields check.Fields
	fields.Name("name", in.Name, 64)
	if err := fields.Err(); err != nil {
		return hostler.Project{}, err
	}
	defer a.callers.clear()
	return change(ctx, g, func(s *scope) (hostler.Project, error) {
		p, err := s.InsertProject(in.Name)
		if err != nil {
			return p, err
		}
		if err := s.SetRole(c.UserID, p.ID, hostler.RoleAdmin, 0); err != nil {
			return p, err
		}
		return p, s.audit("project.create", p.Name, nil)
	})
}
